"""A trained system on new audio: loaded from a run or an exported folder."""
