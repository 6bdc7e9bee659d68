"""Which operators a graph from outside may name.

A list of names, not a rule with exceptions: `aten` also holds operators that save files, take storages or pointers,
and some that hand out memory nobody filled; what nobody looked at is refused, and so is whatever a later torch adds.
Left out on purpose, although models use them, are operators whose kernels are known to trust their arguments:
`embedding_bag`, `ctc_loss`, `max_unpool*`, `fractional_max_pool*`, packed sequences, factorisations that take pivots.

Rules: an overload is looked up only after its name was found here; its schema must take and give plain values;
what would show memory that was not written (`empty` and its kin) is filled with zeros, see `torch_portable_run`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import torch

from .torch_portable_region import AutocastRegion, GradientRegion

_MATHEMATICS: Final = """
abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh
atan atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil celu
clamp clamp_max clamp_min clip complex conj conj_physical copysign cos cosh deg2rad digamma div divide elu eq erf
erfc erfinv exp exp2 expm1 fill fix float_power floor floor_divide fmax fmin fmod frac frexp ge gelu glu greater
greater_equal gt hardshrink hardsigmoid hardswish hardtanh heaviside hypot i0 imag isclose isfinite isinf isnan
isneginf isposinf isreal ldexp le leaky_relu lerp less less_equal lgamma log log10 log1p log2 log_sigmoid logaddexp
logaddexp2 logical_and logical_not logical_or logical_xor logit lt maximum minimum mish mul multiply mvlgamma
nan_to_num ne neg negative nextafter not_equal polar polygamma positive pow prelu rad2deg real reciprocal relu relu6
remainder round rrelu rsqrt rsub selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink sqrt square sub
subtract tan tanh threshold true_divide trunc where xlogy zero __and__ __or__ __xor__ __iand__ __ior__ __ixor__
__lshift__ __rshift__ special_digamma special_entr special_erf special_erfc special_erfcx special_erfinv special_exp2
special_expit special_expm1 special_gammaln special_i0 special_i0e special_i1 special_i1e special_log1p
special_log_ndtr special_log_softmax special_logit special_logsumexp special_ndtr special_ndtri special_polygamma
special_psi special_round special_sinc special_softmax special_xlog1py special_xlogy
"""
_CHANCE: Final = """
alpha_dropout bernoulli dropout exponential feature_alpha_dropout feature_dropout multinomial native_dropout normal
normal_functional poisson rand rand_like randint randint_like randn randn_like randperm uniform
"""
_REDUCTIONS: Final = """
all amax amin aminmax any argmax argmin argsort count_nonzero cummax cummin cumprod cumsum cumulative_trapezoid diff
dist frobenius_norm kthvalue linalg_norm linalg_vector_norm log_softmax _log_softmax logcumsumexp logsumexp max mean
median min mode msort nanmean nanmedian nansum norm nuclear_norm prod quantile nanquantile softmax _softmax
sort std std_mean sum sum_to_size topk trace trapezoid trapz var var_mean
"""
_SHAPES: Final = """
adjoint alias atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cartesian_prod cat
channel_shuffle chunk clone column_stack concat concatenate constant_pad_nd contiguous copy detach diag diag_embed
diagflat diagonal diagonal_scatter dsplit dstack expand expand_as flatten flip fliplr flipud hsplit hstack lift_fresh
lift_fresh_copy matrix_H mH mT meshgrid moveaxis movedim narrow native_channel_shuffle numpy_T pad permute
pixel_shuffle pixel_unshuffle ravel reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
replication_pad1d replication_pad2d replication_pad3d reshape reshape_as resolve_conj resolve_neg roll rot90 row_stack
select select_scatter slice slice_scatter split split_with_sizes squeeze stack swapaxes swapdims t tensor_split tile
to _to_copy transpose tril triu type_as unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes
_unsafe_view unsqueeze view view_as view_as_complex view_as_real vsplit vstack
"""
_INDICES: Final = """
argwhere bincount bucketize embedding gather histc index index_add index_copy index_fill index_put index_reduce
index_select isin masked_fill masked_scatter masked_select nonzero nonzero_numpy one_hot scatter scatter_add
scatter_reduce searchsorted take take_along_dim
"""
_ALGEBRA: Final = """
addbmm addmm addmv addr baddbmm bilinear bmm cdist chain_matmul cholesky corrcoef cosine_similarity cov cross det dot
einsum inner inverse kron linalg_cholesky linalg_cholesky_ex linalg_cross linalg_det linalg_diagonal linalg_eigh
linalg_eigvalsh linalg_inv linalg_inv_ex linalg_matmul linalg_matrix_exp linalg_matrix_norm linalg_matrix_power
linalg_multi_dot linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_ex linalg_svd linalg_svdvals
linalg_vecdot linear logdet matmul matrix_exp matrix_power mm mv outer pairwise_distance pdist pinverse slogdet
tensordot vdot
"""
_LAYERS: Final = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d affine_grid_generator avg_pool1d avg_pool2d avg_pool3d batch_norm col2im conv1d conv2d conv3d
conv_transpose1d conv_transpose2d conv_transpose3d convolution grid_sampler group_norm gru gru_cell im2col
instance_norm layer_norm lstm lstm_cell max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices
max_pool3d max_pool3d_with_indices native_group_norm native_layer_norm renorm rms_norm rnn_relu rnn_relu_cell rnn_tanh
rnn_tanh_cell scaled_dot_product_attention upsample_bicubic2d _upsample_bicubic2d_aa upsample_bilinear2d
_upsample_bilinear2d_aa upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_trilinear3d _weight_norm
"""
_LOSSES: Final = """
binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy_loss hinge_embedding_loss
huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss nll_loss2d
nll_loss_nd poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
"""
_SIGNALS: Final = """
bartlett_window blackman_window fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_hfft fft_ifft fft_ifft2
fft_ifftn fft_ifftshift fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn
hamming_window hann_window istft stft
"""
_MAKERS: Final = """
arange empty empty_like eye full full_like linspace logspace new_empty new_full new_ones new_zeros ones ones_like
scalar_tensor tril_indices triu_indices zeros zeros_like
"""
_NOTES: Final = """
_assert_async _assert_scalar _assert_tensor_metadata is_nonzero item _local_scalar_dense sym_constrain_range
sym_constrain_range_for_size sym_numel sym_size sym_stride
"""
ALLOWED: Final = frozenset(
    " ".join(
        (
            _MATHEMATICS,
            _CHANCE,
            _REDUCTIONS,
            _SHAPES,
            _INDICES,
            _ALGEBRA,
            _LAYERS,
            _LOSSES,
            _SIGNALS,
            _MAKERS,
            _NOTES,
        )
    ).split()
)
# Overloads that differ from their allowed siblings: packed sequences carry lengths that the kernels trust, and
# those of TorchScript crash on what its compiler would not have written.
DENIED: Final = re.compile(r"aten\.(lstm|gru|rnn_relu|rnn_tanh)\.data\Z|aten\.\w+\.prim_")

# What the schema of an allowed operator may speak of: plain values, no storage, stream, pointer or object.
PLAIN: Final = re.compile(
    r"(Optional\[|List\[)*(Tensor|int|float|bool|number|complex|str|ScalarType|Layout|Device|MemoryFormat|Generator)\]*\Z"
)
# The few that are about numbers alone: torch.export states with them what it assumed of a size.
_ABOUT_NUMBERS: Final = (
    "aten::_assert_scalar",
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
)
_NAME: Final = re.compile(r"aten\.(\w{1,64})\.(\w{1,64})\Z")

# Arithmetic on sizes. What is not a number is refused when it runs: `add` and `mul` take lists and texts as well.
_ARITHMETIC: Final[dict[str, Callable[..., Any]]] = {
    "operator.add": operator.add,
    "operator.sub": operator.sub,
    "operator.mul": operator.mul,
    "operator.floordiv": operator.floordiv,
    "operator.truediv": operator.truediv,
    "operator.mod": operator.mod,
    "operator.neg": operator.neg,
    "operator.eq": operator.eq,
    "operator.ne": operator.ne,
    "operator.lt": operator.lt,
    "operator.le": operator.le,
    "operator.gt": operator.gt,
    "operator.ge": operator.ge,
    "operator.and_": operator.and_,
    "operator.or_": operator.or_,
    "operator.not_": operator.not_,
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
    "torch.sym_int": torch.sym_int,
    "torch.sym_float": torch.sym_float,
    "torch.sym_not": torch.sym_not,
    "torch.sym_ite": torch.sym_ite,
    "torch.sym_sum": torch.sym_sum,
}
# Numbers that a size, an index or a ratio can be; beyond them Python's own integers would grow without bound.
_LARGEST_NUMBER: Final = 1 << 63

PICK: Final = "operator.getitem"
REGIONS: Final = {"region.gradient": GradientRegion, "region.autocast": AutocastRegion}


class Arithmetic:
    """One operation on sizes: numbers in, a number out."""

    def __init__(self, name: str) -> None:
        self.name, self._function = name, _ARITHMETIC[name]
        self.__name__ = name.rpartition(".")[2]

    def __call__(self, *operands: Any) -> Any:
        for operand in operands:
            values = (
                operand if isinstance(operand, (list, tuple)) and self.name == "torch.sym_sum" else (operand,)
            )
            if not all(isinstance(value, (int, float)) for value in values):
                kind = type(operand).__name__
                raise TypeError(f"{self.name} is for sizes, not for a {kind}")
        made = self._function(*operands)
        if isinstance(made, (int, float)) and abs(made) > _LARGEST_NUMBER:
            raise OverflowError(f"{self.name} gives a number beyond 64 bits")
        return made


def name_of(target: Any) -> str:
    """What an operator is called in bytes; empty where it does not travel."""
    if isinstance(target, torch._ops.OpOverload):
        name = f"{target.namespace}.{target._schema.name.partition('::')[2]}.{target._overloadname}"
        return name if operator_of(name) is target else ""
    if isinstance(target, Arithmetic):
        return target.name
    if target is operator.getitem:
        return PICK
    return next((name for name, function in _ARITHMETIC.items() if function is target), "")


@lru_cache(maxsize=4096)
def operator_of(name: str) -> Any:
    """The operator behind a name, or None where it may not come from outside."""
    if name in _ARITHMETIC:
        return Arithmetic(name)
    if name == PICK:
        return operator.getitem
    found = _NAME.match(name)
    if found is None or DENIED.match(name):
        return None
    packet, overload = found.groups()
    base = packet if packet in ALLOWED else packet.removesuffix("_")
    if base not in ALLOWED:
        return None
    family = getattr(torch.ops.aten, packet, None)
    if family is None or overload not in family.overloads():
        return None
    chosen = getattr(family, overload)
    return chosen if _plain(chosen._schema) else None


def _plain(schema: Any) -> bool:
    """Whether plain values go in and out, tensors among them.

    `out=` overloads resize what they are given; TorchScript's own arithmetic divides by zero without asking.
    """
    given = [str(argument.real_type) for argument in schema.arguments]
    made = [str(result.real_type) for result in schema.returns]
    about_tensors = any("Tensor" in kind for kind in (*given, *made)) or schema.name in _ABOUT_NUMBERS
    return (
        about_tensors
        and all(PLAIN.match(kind) for kind in given)
        and all(PLAIN.match(kind) and "str" not in kind for kind in made)
        and not any(argument.is_out for argument in schema.arguments)
    )
