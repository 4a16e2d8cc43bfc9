"""Batch normalisation as part of the convolution before it."""

from collections import Counter

from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """Fold what is normalised right after a convolution into its weights, in place.

    In evaluation mode that is the same function but for rounding, and saves passages
    through the activations. Meant for networks of torchvision in float32: rounded to
    bfloat16, folded weights are further from the truth.
    """
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules()):
        return net  # to trace takes a moment
    calls = [n for n in fx.Tracer().trace(net).nodes if n.op == "call_module"]
    n_calls = Counter(call.target for call in calls)
    for norm in calls:
        conv = norm.args[0]
        if conv not in calls or n_calls[conv.target] > 1 or n_calls[norm.target] > 1:
            continue
        before, after = (net.get_submodule(call.target) for call in (conv, norm))
        if not (isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d)):
            continue
        if len(conv.users) == 1:
            net.set_submodule(conv.target, fuse_conv_bn_eval(before, after))
            net.set_submodule(norm.target, nn.Identity())
    return net
