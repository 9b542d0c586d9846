"""The version of this package, installed or not."""

VERSION = "0.1.0"
