"""The network: Qwen3's block structure, small enough to train on two CPU cores.

Names of the parameters follow the GGUF roles, so that `export.py` is a plain renaming. Matrices are stored
input-first (x @ w).
"""

import dataclasses
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Config:
    vocab: int = 8192
    width: int = 128
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    hidden: int = 384
    theta: float = 10000.0
    eps: float = 1e-6
    context: int = 2048


MATRICES = ("q", "k", "v", "o", "gate", "up", "down")


def init(c, seed):
    rng = np.random.default_rng(seed)

    def matrix(rows, cols, gain=1.0):
        bound = 0.6 * gain * np.sqrt(3 / rows)
        return rng.uniform(-bound, bound, size=(rows, cols)).astype(np.float32)

    ones = lambda n: np.ones(n, np.float32)
    q_dim, kv_dim = c.heads * c.head_dim, c.kv_heads * c.head_dim
    layers = [
        dict(
            attn_norm=ones(c.width), ffn_norm=ones(c.width), q_norm=ones(c.head_dim), k_norm=ones(c.head_dim),
            q=matrix(c.width, q_dim), k=matrix(c.width, kv_dim), v=matrix(c.width, kv_dim),
            # Residual branches start near zero: the first steps then train the embedding, not noise.
            o=matrix(q_dim, c.width, 0.1),
            gate=matrix(c.width, c.hidden), up=matrix(c.width, c.hidden), down=matrix(c.hidden, c.width, 0.1),
        )
        for _ in range(c.layers)
    ]
    emb = (rng.normal(size=(c.vocab, c.width)) * 0.05).astype(np.float32)
    return jax.tree.map(jnp.asarray, dict(emb=emb, norm=ones(c.width), layers=layers))


def rms(x, weight=1.0, eps=1e-6):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * weight


def rope_table(positions, c):
    inverse = 1.0 / c.theta ** (np.arange(0, c.head_dim, 2) / c.head_dim)
    angle = positions[..., None].astype(jnp.float32) * inverse.astype(np.float32)
    return jnp.cos(angle)[..., None, :], jnp.sin(angle)[..., None, :]


def rope(x, table):
    """NEOX style: the two halves of a head rotate against each other."""
    cos, sin = table
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def dot(x, w):
    """x @ w over rows. Gradients of matrices are several times faster over two dimensions than over three."""
    return (x.reshape(-1, x.shape[-1]) @ w).reshape(*x.shape[:-1], w.shape[-1])


def project(p, x, table, c):
    batch, length, _ = x.shape
    h = rms(x, p["attn_norm"], c.eps)
    q = rope(rms(dot(h, p["q"]).reshape(batch, length, c.heads, c.head_dim), p["q_norm"], c.eps), table)
    k = rope(rms(dot(h, p["k"]).reshape(batch, length, c.kv_heads, c.head_dim), p["k_norm"], c.eps), table)
    return q, k, dot(h, p["v"]).reshape(batch, length, c.kv_heads, c.head_dim)


def attend(q, k, v, mask):
    """q [batch, groups, rows, head_dim] over k and v [batch, groups, keys, head_dim]; the mask is added to the scores."""
    scores = jnp.einsum("bhqd,bhkd->bhqk", q * q.shape[-1] ** -0.5, k) + mask
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    return weights @ v, weights


def _ends(length):
    """Where the blocks of queries end. Four of them leave out three eighths of the work, most of what the mask hides."""
    return [round(length * part / 4) for part in (1, 2, 3, 4)]


def _cut(x, begin, end, length):
    """Positions `begin` to `end` in each of the stacked heads."""
    batch, groups, rows, dim = x.shape
    return x.reshape(batch, groups, rows // length, length, dim)[:, :, :, begin:end].reshape(batch, groups, -1, dim)


def _join(parts, shape, length):
    batch, groups, rows, dim = shape
    return jnp.concatenate([p.reshape(batch, groups, rows // length, -1, dim) for p in parts], 3).reshape(shape)


def _attend_blocks(q, k, v):
    length = k.shape[2]
    outs, weights = [], []
    for begin, end in pairwise([0, *_ends(length)]):
        mask = jnp.where(jnp.arange(end) <= jnp.arange(begin, end)[:, None], 0.0, -1e9)
        out, weight = attend(_cut(q, begin, end, length), k[:, :, :end], v[:, :, :end], jnp.tile(mask, (q.shape[2] // length, 1)))
        outs.append(out)
        weights.append(weight)
    return _join(outs, q.shape, length), weights


@jax.custom_vjp
def attend_causal(q, k, v):
    """Causal attention in blocks of queries, each over the keys up to its end; its own gradient makes half the passes
    over the scores that the automatic one makes."""
    return _attend_blocks(q, k, v)[0]


def _forward(q, k, v):
    out, weights = _attend_blocks(q, k, v)
    return out, (q, k, v, weights, out)


def _backward(kept, grad):
    q, k, v, weights, out = kept
    length = k.shape[2]
    # A product over the first of two dimensions is slow; transposing the matrix first is faster.
    turn = lambda x: jax.lax.optimization_barrier(jnp.swapaxes(x, 2, 3))
    slope = (grad * out).sum(-1, keepdims=True)
    to_q, to_k, to_v = [], jnp.zeros_like(k), jnp.zeros_like(v)
    for weight, (begin, end) in zip(weights, pairwise([0, *_ends(length)])):
        part = _cut(grad, begin, end, length)
        to_weights = jnp.einsum("bhqd,bhkd->bhqk", part, v[:, :, :end])
        to_scores = jax.lax.optimization_barrier(weight * (to_weights - _cut(slope, begin, end, length)) * q.shape[-1] ** -0.5)
        to_q.append(to_scores @ k[:, :, :end])
        to_k = to_k.at[:, :, :end].add(turn(to_scores) @ _cut(q, begin, end, length))
        to_v = to_v.at[:, :, :end].add(turn(weight) @ part)
    return _join(to_q, q.shape, length), to_k, to_v


attend_causal.defvjp(_forward, _backward)


def block(p, x, table, c, cache=None, at=None, mask=None):
    """One layer. With `cache` and `at` the single new token of each row is written at position `at`."""
    batch, length, _ = x.shape
    q, k, v = project(p, x, table, c)
    if at is not None:
        rows = jnp.arange(batch)
        k = cache[0].at[rows, at].set(k[:, 0])
        v = cache[1].at[rows, at].set(v[:, 0])
    group = c.heads // c.kv_heads
    # Heads of one group share keys and are stacked along the rows.
    q = q.reshape(batch, length, c.kv_heads, group, c.head_dim).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, c.kv_heads, group * length, c.head_dim)
    keys, values = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    mixed = attend_causal(q, keys, values) if at is None else attend(q, keys, values, mask)[0]
    mixed = mixed.reshape(batch, c.kv_heads, group, length, c.head_dim).transpose(0, 3, 1, 2, 4)
    x = x + dot(mixed.reshape(batch, length, -1), p["o"])
    h = rms(x, p["ffn_norm"], c.eps)
    return x + dot(jax.nn.silu(dot(h, p["gate"])) * dot(h, p["up"]), p["down"]), (k, v)


def trunk(p, ids, c):
    """Hidden states after every layer (before the final norm), and the keys and values."""
    length = ids.shape[1]
    x = p["emb"][ids]
    table = rope_table(jnp.arange(length)[None], c)
    states, cache = [], []
    for layer in p["layers"]:
        x, kv = block(layer, x, table, c)
        states.append(x)
        cache.append(kv)
    return states, cache


def head(p, x, c):
    return dot(rms(x, p["norm"], c.eps), p["emb"].T)
