"""The network: Qwen3's block structure, small enough to train on two CPU cores.

Names of the parameters follow the GGUF roles, so that `export.py` is a plain renaming. Matrices are stored
input-first (x @ w).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Config:
    vocab: int = 4096
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


def project(p, x, table, c):
    batch, length, _ = x.shape
    h = rms(x, p["attn_norm"], c.eps)
    q = rope(rms((h @ p["q"]).reshape(batch, length, c.heads, c.head_dim), p["q_norm"], c.eps), table)
    k = rope(rms((h @ p["k"]).reshape(batch, length, c.kv_heads, c.head_dim), p["k_norm"], c.eps), table)
    return q, k, (h @ p["v"]).reshape(batch, length, c.kv_heads, c.head_dim)


def _attend(q, k, v, mask):
    scores = jnp.einsum("bhqd,bhkd->bhqk", q * q.shape[-1] ** -0.5, k) + mask
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    return weights @ v, weights


@jax.custom_vjp
def attend(q, k, v, mask):
    """Attention; its own gradient makes half the passes over the scores that the automatic one makes."""
    return _attend(q, k, v, mask)[0]


def _attend_forward(q, k, v, mask):
    out, weights = _attend(q, k, v, mask)
    return out, (q, k, v, weights, out)


def _attend_backward(kept, grad):
    q, k, v, weights, out = kept
    to_weights = jnp.einsum("bhqd,bhkd->bhqk", grad, v)
    to_scores = weights * (to_weights - (grad * out).sum(-1, keepdims=True)) * q.shape[-1] ** -0.5
    return to_scores @ k, jnp.einsum("bhqk,bhqd->bhkd", to_scores, q), jnp.einsum("bhqk,bhqd->bhkd", weights, grad), None


attend.defvjp(_attend_forward, _attend_backward)


def block(p, x, table, mask, c, cache=None, at=None):
    """One layer. With `cache` and `at` the single new token of each row is written at position `at`."""
    batch, length, _ = x.shape
    q, k, v = project(p, x, table, c)
    if at is not None:
        rows = jnp.arange(batch)
        k = cache[0].at[rows, at].set(k[:, 0])
        v = cache[1].at[rows, at].set(v[:, 0])
    group = c.heads // c.kv_heads
    q = q.reshape(batch, length, c.kv_heads, group, c.head_dim).transpose(0, 2, 3, 1, 4)
    q = q.reshape(batch, c.kv_heads, group * length, c.head_dim)
    mixed = attend(q, k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3), mask)
    mixed = mixed.reshape(batch, c.kv_heads, group, length, c.head_dim).transpose(0, 3, 1, 2, 4)
    x = x + mixed.reshape(batch, length, -1) @ p["o"]
    h = rms(x, p["ffn_norm"], c.eps)
    return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"], (k, v)


def trunk(p, ids, c):
    """Hidden states after every layer (before the final norm), and the keys and values."""
    length = ids.shape[1]
    x = p["emb"][ids]
    table = rope_table(jnp.arange(length)[None], c)
    # Heads of one group share keys and lie below each other.
    mask = jnp.tile(jnp.where(jnp.tril(jnp.ones((length, length), bool)), 0.0, -1e9), (c.heads // c.kv_heads, 1))
    states, cache = [], []
    for layer in p["layers"]:
        x, kv = block(layer, x, table, mask, c)
        states.append(x)
        cache.append(kv)
    return states, cache


def head(p, x, c):
    return rms(x, p["norm"], c.eps) @ p["emb"].T
