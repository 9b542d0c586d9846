"""The weights of a JAX SUMMER's teacher or student under the names of `torch_summer`."""

import numpy as np
import torch


def torch_weights(tree, settings):
    """`tree`: nested dictionaries of the network's parameters, or of their gradients."""
    found = {}

    def put(name, leaf):
        found[name] = torch.tensor(np.array(leaf))

    def put_linear(name, node):
        put(f"{name}.weight", node["kernel"].T)
        put(f"{name}.bias", node["bias"])

    def put_experts(name, node):
        directions, experts, h = node["bias"].shape
        if "gate" in node:
            put_linear(f"{name}.gate", node["gate"])
        for d in range(directions):
            for e in range(experts):
                end, at = "_reverse" if d else "", f"{name}.experts.{e}"
                own = slice(e * h, (e + 1) * h)
                put(f"{at}.weight_ih_l0{end}", _stacked(node["into"][d][:, :, own]))
                put(f"{at}.bias_ih_l0{end}", np.concatenate(node["into_bias"][d][:, e]))
                # two biases of the other gates always stand together
                bias_g = np.concatenate([np.zeros(2 * h, np.float32), node["bias"][d, e]])
                put(f"{at}.bias_hh_l0{end}", bias_g)
                if "state" in node:
                    put(f"{at}.weight_hh_l0{end}", _stacked(node["state"][d, :, e]))

    for k, node in tree["embed"]["projects"].items():
        put_linear(f"projects.{k}", node)
    put("missing", tree["embed"]["missing"])
    if settings.speakers:
        put("speakers.weight", tree["embed"]["speakers"])
    for k, node in tree["experts"].items():
        put_experts(f"experts.{k}", node)
    if settings.global_experts:
        put_experts("whole", tree["global_experts"])
    for i, node in tree["fuse"]["blocks"].items():
        for part in ("query", "key", "value", "out"):
            put_linear(f"blocks.{i}.{part}", node[part])
        put(f"blocks.{i}.norm.weight", node["norm"]["scale"])
        put(f"blocks.{i}.norm.bias", node["norm"]["bias"])
    put_linear("classify", tree["classify"])
    put_linear("regress", tree["regress"])
    return found


def _stacked(weights_gio):
    """Three gates' weights as PyTorch keeps them."""
    return np.concatenate([np.array(w_io).T for w_io in weights_gio])
