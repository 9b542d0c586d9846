"""Compile DeepSER's step for an NVIDIA H200 on a machine without a GPU.

    pip install jax-cuda13-plugin jax-cuda13-pjrt nvidia-cuda-nvcc nvidia-nvvm
    python benchmarks/compile_for_gpu.py [--hidden 1024] [--batch 16] [--precision bfloat16]
        [--members 1] [--hlo FILE] [--out FILE]

The first two packages must have jax's own version. Prints seconds to trace and to compile, the
number of kernels and of products, and the memory that XLA plans. Nothing is searched: algorithms
are timed on a card alone, so a card's compilation takes longer. The layers take the paths of a GPU.
"""

import argparse
import importlib.util
import os
import tempfile
import time
from pathlib import Path
from typing import Any

H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 151397597184 device_address_bits: 64
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  device_vendor: "NVIDIA Corporation" platform_version: "Compute Capability 9.0a"
  name: "NVIDIA H200" driver_version: "13.0.0" runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0" dnn_version: "9.10.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H200"
"""


def main() -> None:
    given = arguments()
    prepare_environment()
    from results import machine, save, target

    found = measure(given)
    for name, value in found.items():
        print(f"{name:24s} {value:.2f}" if isinstance(value, float) else f"{name:24s} {value}")
    seconds = found["compile_seconds"]
    print(target("gpu-compile", "at most 20 s a program", f"{seconds:.1f} s", seconds <= 20))
    environment = machine("jax", "jaxlib", "jax-cuda13-pjrt", "medusa-jax")
    names = ("hidden", "batch", "precision", "members")
    settings = {name: getattr(given, name) for name in names}
    save(given.out, environment, settings=settings, found=found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "tf32", "bfloat16"])
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--hlo", type=Path, help="text of the compiled program to write")
    parser.add_argument("--out", type=Path, help="JSON to write")
    return parser.parse_args()


def prepare_environment() -> None:
    """JAX on the CPU, its CUDA plugin ready to compile, and NVIDIA's tools where XLA finds them."""
    home = importlib.util.find_spec("nvidia.cu13")
    if importlib.util.find_spec("jax_plugins.xla_cuda13") is None or home is None:
        raise SystemExit(f"the CUDA plugin is not installed\n{__doc__}")
    tools = next(iter(home.submodule_search_locations or []))
    flags = f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={tools}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Trace and compile one step of Stage 1."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    step, values = step_of(given)
    card = topologies.get_topology_desc("h200", "cuda", target_config=H200, topology="1x1x1")
    where = SingleDeviceSharding(card.devices[0])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), values)
    began = time.perf_counter()
    lowered = step.trace(*shapes).lower()
    traced = time.perf_counter()
    compiled = lowered.compile()
    done, text, memory = time.perf_counter(), compiled.as_text(), compiled.memory_analysis()
    if given.hlo:
        given.hlo.write_text(text, encoding="utf-8")
    return {
        "trace_seconds": traced - began,
        "compile_seconds": done - traced,
        "kernels": text.count(" fusion("),
        "products": text.count("__cublas$lt$matmul"),
        "arguments_gb": memory.argument_size_in_bytes / 1e9,
        "scratch_gb": memory.temp_size_in_bytes / 1e9,
    }


def step_of(given: argparse.Namespace) -> tuple[Any, Any]:
    """The step as a GPU gets it, and its arguments."""
    import jax
    import train_ours
    import train_task

    from medusa_jax.training.step import program_of, train_step
    from medusa_jax.training.weights import outline

    jax.default_backend = lambda: "gpu"  # what the layers ask when they are traced
    task = {"hidden": given.hidden, "batch": given.batch, "precision": given.precision}
    task |= {"members": given.members, "side_by_side": given.members > 1, "shapes": 1}
    with tempfile.TemporaryDirectory() as folder:
        train_task.write(Path(folder), 2 * given.batch, 550)
        data = train_ours.data_of({**task, "folder": folder})
        members = train_ours.members_of(task, data)
        lanes = train_ours.lanes(task, members, data)[0]
        batch = train_ours.Epoch(data, [lanes]).made(data.plan(0, 1)[0])
        program = program_of(lanes.task, outline(lanes.task).graph, lanes.phase, lanes.several)
        return train_step(program), lanes.arguments(batch)


if __name__ == "__main__":
    main()
