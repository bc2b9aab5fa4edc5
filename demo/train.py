"""Trains the judge on two CPU cores. Principles alone come first: until the network knows what is asked, verdicts
teach it nothing. Then come whole items with the supervision described in `batches`."""

import argparse
import json
import multiprocessing
import os
import pickle
import random
import time
from pathlib import Path
from queue import Full

# Two single-threaded devices share a step, each with half of the batch. They wait for each other once a step; the threads
# of one device with two threads would wait at every operation, which is slow on a busy machine.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

import batches
import model
from attributes import FAMILIES, LEVELS, TAGS
from model import MATRICES, rms, rope, rope_table

# Where each kind of knowledge is supervised: the index of the layer after which its head reads.
MARKS_AFTER, PRINCIPLE_AFTER, LEVELS_AFTER = 1, 2, 3
COPY_LAYER = 2  # its first heads look up whether a word is the one that the principle names
KEYWORD_TAG = TAGS.index("keyword")
ROLE_WEIGHT = np.array([0.2, 1.0, 3.0, 2.0, 2.0], np.float32)


def heads(c, seed):
    rng = np.random.default_rng(seed)
    weights = lambda n: jnp.asarray((rng.normal(size=(c.width, n)) * 0.02).astype(np.float32))
    classes = batches.NO_SECOND
    return dict(first=weights(classes), second=weights(classes + 1), tags=weights(len(TAGS) - 1), keyword=weights(1), owner=weights(batches.ANSWERS),
                levels=weights(batches.LEVEL_COUNT), picked=weights(2 * batches.LEVEL_COUNT))


def cross_entropy(logits, goal):
    """The mean over all goals except IGNORE."""
    known = goal >= 0
    taken = jnp.take_along_axis(logits, jnp.maximum(goal, 0)[..., None], -1)[..., 0]
    return jnp.where(known, jax.nn.logsumexp(logits, -1) - taken, 0).sum() / jnp.maximum(1, known.sum())


def binary(logits, goal):
    """Marks are rare: they count four times."""
    loss = jnp.maximum(logits, 0) - logits * goal + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    weight = jnp.where(goal < 0, 0.0, jnp.where(goal > 0, 4.0, 1.0))
    return (loss * weight).sum() / jnp.maximum(1.0, weight.sum())


def principle_loss(p, states, batch):
    x = rms(states[PRINCIPLE_AFTER][jnp.arange(states[0].shape[0]), batch["principle_end"]])
    first, second = x @ p["heads"]["first"], x @ p["heads"]["second"]
    loss = cross_entropy(first, batch["classes"][:, 0]) + 0.5 * cross_entropy(second, batch["classes"][:, 1])
    right = jnp.stack([first.argmax(-1), second.argmax(-1)], 1) == batch["classes"]
    return loss, right.mean(0)


def attention_loss(layer, x, places, goals, group, c):
    """Teaches the heads of one group where to attend: from `places` to `goals`, the same for all heads or one for each."""
    rows = jnp.arange(x.shape[0])[:, None]
    h = rms(x, layer["attn_norm"])
    size = c.heads // c.kv_heads
    queries, keys = group * size * c.head_dim, group * c.head_dim
    at = jnp.maximum(places, 0)
    q = (h[rows, at] @ layer["q"][:, queries: queries + size * c.head_dim]).reshape(*at.shape, size, c.head_dim)
    q = rope(rms(q, layer["q_norm"]), rope_table(at, c))
    k = (h @ layer["k"][:, keys: keys + c.head_dim])[:, :, None]
    k = rope(rms(k, layer["k_norm"]), rope_table(jnp.arange(x.shape[1])[None], c))[:, :, 0]
    scores = jnp.einsum("blgd,btd->blgt", q, k) * c.head_dim**-0.5
    scores = jnp.where(jnp.arange(x.shape[1]) <= at[..., None, None], scores, -1e9)
    if goals.ndim == 2:
        goals = jnp.repeat(jnp.where(places >= 0, goals, batches.IGNORE)[..., None], size, -1)
    return cross_entropy(scores, goals)


def form_loss(net, pairs, c):
    """Lets the copying heads find the last token of a word in any of its forms ("Garlic", " garlic") among others, at any
    distance. Whole items name too few words to teach it."""
    layer = net["layers"][COPY_LAYER]
    size = c.heads // c.kv_heads
    project = lambda tokens, matrix, count, norm: rms((rms(net["emb"][tokens], layer["attn_norm"]) @ matrix[:, : count * c.head_dim]).reshape(-1, count, c.head_dim), norm)
    q = rope(project(pairs[:, 0], layer["q"], size, layer["q_norm"]), rope_table(pairs[:, 2], c))
    k = project(pairs[:, 1], layer["k"], 1, layer["k_norm"])[:, 0]
    scores = jnp.einsum("agd,bd->agb", q, k) * c.head_dim**-0.5
    return cross_entropy(scores, jnp.repeat(jnp.arange(len(pairs))[:, None], size, 1))


def loss_fn(p, batch, c):
    net, extra = p["net"], p["heads"]
    states, _ = model.trunk(net, batch["ids"], c)
    logits = model.head(net, states[-1][batch["row"], batch["column"]], c)
    taken = jnp.take_along_axis(logits, jnp.maximum(batch["goal"], 0)[:, None], -1)[:, 0]
    weight = jnp.where(batch["goal"] >= 0, jnp.asarray(ROLE_WEIGHT)[batch["role"]], 0)
    main = ((jax.nn.logsumexp(logits, -1) - taken) * weight).sum() / weight.sum()
    right = logits.argmax(-1) == batch["goal"]
    hits = jnp.stack([jnp.stack([(right & (batch["role"] == r) & (batch["goal"] >= 0)).sum(), ((batch["role"] == r) & (batch["goal"] >= 0)).sum()]) for r in range(5)])

    asked, _ = principle_loss(p, states, batch)
    marks = binary(rms(states[MARKS_AFTER]) @ extra["tags"], batch["tags"][..., :KEYWORD_TAG])
    marks += binary(rms(states[PRINCIPLE_AFTER]) @ extra["keyword"], batch["tags"][..., KEYWORD_TAG:])
    owner = cross_entropy(rms(states[MARKS_AFTER]) @ extra["owner"], batch["owner"])
    late = rms(states[LEVELS_AFTER])
    read = late @ extra["levels"]
    rows = jnp.arange(read.shape[0])[:, None]
    last = jnp.maximum(batch["last"], 0)
    ends = jnp.where((batch["last"] >= 0)[..., None], batch["levels"][rows, last], batches.IGNORE)
    level, start = 0.0, 0
    for i, family in enumerate(FAMILIES):
        part = slice(start, start + len(LEVELS[family]))
        level += 0.5 * cross_entropy(read[..., part], batch["levels"][..., i]) + 0.5 * cross_entropy(read[rows, last][..., part], ends[..., i])
        start = part.stop
    picked = (late[rows, last] @ extra["picked"]).reshape(*last.shape, 2, -1)
    pick = cross_entropy(picked, batch["picked"])
    # At the place of a level word, attend to the end of its answer.
    look = attention_loss(net["layers"][-1], states[-2], batch["line"], batch["line_last"], 0, c)
    copy = attention_loss(net["layers"][COPY_LAYER], states[COPY_LAYER - 1], batch["mention"], batch["named"], 0, c)
    form = form_loss(net, batch["forms"], c)
    total = main + 0.4 * asked + 1.0 * marks + 0.1 * owner + 0.25 * level + 0.4 * pick + 0.2 * look + 0.2 * copy + 0.1 * form
    return total, (jnp.stack([main, asked, marks, owner, level, pick, look, copy, form]), hits)


def orthogonal(g):
    """Newton-Schulz: the nearest matrix with equal singular values, Muon's direction."""
    x = g / (jnp.linalg.norm(g) + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


def update(p, moments, grads, rate, step, peak):
    """Muon for the matrices of the layers, Adam for everything else."""
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    clip = jnp.minimum(1.0, 1.0 / (norm + 1e-6))

    def one(path, w, m, v, g):
        g = g * clip
        if any(getattr(k, "key", "") == "layers" for k in path) and path[-1].key in MATRICES:
            m = 0.95 * m + g
            turn = orthogonal(g + 0.95 * m) * 0.2 * np.sqrt(max(w.shape))
            return w * (1 - 0.04 * peak[0] * rate) - peak[0] * rate * turn, m, v
        m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g * g
        return w - peak[1] * rate * (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.98**step)) + 1e-8), m, v

    out = jax.tree_util.tree_map_with_path(one, p, moments[0], moments[1], grads)
    pick = lambda i: jax.tree.map(lambda t: t[i], out, is_leaf=lambda t: isinstance(t, tuple))
    return pick(0), (pick(1), pick(2))


def _produce(queue, path, seed, tokens, total, done, parts):
    for batch in batches.stream(Tokenizer.from_file(path), seed, tokens, total, done, parts):
        while True:
            try:
                queue.put(batch, timeout=10)
                break
            except Full:
                # If the training was killed, nothing reads the batches any more.
                if not multiprocessing.parent_process().is_alive():
                    queue.cancel_join_thread()
                    return


def rate_at(step, progress):
    """Warm-up, plateau, and a long linear decay, which gives most of the accuracy."""
    return min(1.0, (step + 1) / 60) * min(1.0, max(0.01, (1 - progress) / 0.6))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--tokenizer", required=True)
    args.add_argument("--out", required=True, help="checkpoint, written every 25 steps")
    args.add_argument("--steps", type=int, required=True)
    args.add_argument("--phrases", type=int, default=400, help="batches of bare phrases, before anything else")
    args.add_argument("--warmup", type=int, default=1600, help="batches of principles alone")
    args.add_argument("--tokens", type=int, default=6144, help="tokens in a batch")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--minutes", type=float, default=150, help="on a slow machine the schedule is shortened to end in this time")
    args.add_argument("--resume", help="checkpoint to go on from; --steps may differ from the first run's")
    a = args.parse_args()
    tokenizer = Tokenizer.from_file(a.tokenizer)
    c = model.Config(vocab=tokenizer.get_vocab_size())
    p = dict(net=model.init(c, a.seed), heads=heads(c, a.seed))
    moments, start, spent = (jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)), 0, 0.0
    if a.resume:
        saved = pickle.loads(Path(a.resume).read_bytes())
        p, moments = jax.tree.map(jnp.asarray, (saved["p"], saved["moments"]))
        start, spent = saved["step"], saved["seconds"]
    peak = (0.01, 0.004)

    parts = jax.local_device_count()
    p, moments = jax.tree.map(lambda x: jnp.stack([x] * parts), (p, moments))
    every = dict(axis_name="part", in_axes=(0, 0, 0, None, None))

    def step_principle(p, moments, batch, rate, step):
        def loss(p):
            states, _ = model.trunk(p["net"], batch["ids"], c)
            return principle_loss(p, states, batch)
        grads, right = jax.lax.pmean(jax.grad(loss, has_aux=True)(p), "part")
        return *update(p, moments, grads, rate, step, peak), right

    def step_items(p, moments, batch, rate, step):
        grads, (losses, hits) = jax.grad(loss_fn, has_aux=True)(p, batch, c)
        return *update(p, moments, jax.lax.pmean(grads, "part"), rate, step, peak), losses, hits

    def step_verdict(p, moments, batch, rate, step):
        def loss(p):
            states, _ = model.trunk(p["net"], batch["ids"], c)
            due = batch["due"]
            logits = model.head(p["net"], states[-1][jnp.arange(len(due))[:, None], jnp.maximum(due, 0)], c)
            # At the place of a score, first find the answer's own level, then the best and the worst level.
            look = attention_loss(p["net"]["layers"][-2], states[-3], batch["at"], batch["own"], 0, c)
            look += attention_loss(p["net"]["layers"][-1], states[-2], batch["at"], batch["ends"], 1, c)
            return cross_entropy(logits, batch["goal"]) + 0.5 * look, ((logits.argmax(-1) == batch["goal"]).sum() / (batch["goal"] >= 0).sum())
        grads, right = jax.lax.pmean(jax.grad(loss, has_aux=True)(p), "part")
        return *update(p, moments, grads, rate, step, peak), right

    def step_copy(p, moments, batch, rate, step):
        def loss(p):
            net, extra = p["net"], p["heads"]
            states, _ = model.trunk(net, batch["ids"], c)
            rows, length = batch["ids"].shape
            places = jnp.broadcast_to(jnp.arange(length), (rows, length))
            found, other = (jnp.where(batch["same"] == kind, batch["named"], batches.IGNORE) for kind in (1, 0))
            copied = lambda goals: attention_loss(net["layers"][COPY_LAYER], states[COPY_LAYER - 1], places, goals, 0, c)
            # A word of several tokens also depends on the token before: attend to that one too.
            before = attention_loss(net["layers"][0], net["emb"][batch["ids"]], places, jnp.maximum(places - 1, 0), 0, c)
            same = (rms(states[PRINCIPLE_AFTER]) @ extra["keyword"])[..., 0]
            level = rms(states[LEVELS_AFTER]) @ extra["levels"][:, -len(LEVELS["keyword"]):]
            right = (same > 0) & (batch["same"] > 0)
            total = 0.5 * copied(found) + 0.2 * copied(other) + 0.05 * before + binary(same, batch["same"]) + 0.5 * cross_entropy(level, batch["level"])
            return total, right.sum() / jnp.maximum(1, (batch["same"] > 0).sum())
        grads, right = jax.lax.pmean(jax.grad(loss, has_aux=True)(p), "part")
        return *update(p, moments, grads, rate, step, peak), right

    step_verdict, step_copy = jax.pmap(step_verdict, **every), jax.pmap(step_copy, **every)
    step_principle, step_items = jax.pmap(step_principle, **every), jax.pmap(step_items, **every)

    @jax.jit
    def principle_accuracy(p, batch):
        p = jax.tree.map(lambda x: x[0], p)
        return principle_loss(p, model.trunk(p["net"], batch["ids"], c)[0], batch)[1]

    halves = lambda make, size: jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), make(rng, tokenizer, size))
    print("parameters", sum(x[0].size for x in jax.tree.leaves(p["net"])), "vocabulary", c.vocab, flush=True)
    rng, forms = random.Random(a.seed + start), batches.word_forms(tokenizer)
    unseen = batches.principle_batch(random.Random("unseen"), tokenizer, 400, held=True)
    wholes = batches.held_wholes_batch(random.Random("unseen"), tokenizer)
    wording = lambda: f"unseen frames {np.asarray(principle_accuracy(p, unseen)).round(3)} wholes {np.asarray(principle_accuracy(p, wholes)).round(3)}"
    before = a.phrases + a.warmup
    count = 0 if not start else start + before
    for i in range(0 if start else before):
        count += 1
        share = dict(phrases=1.0) if i < a.phrases else dict(phrases=0.2)
        batch = halves(lambda *of: batches.principle_batch(*of, **share), 64)
        p, moments, right = step_principle(p, moments, batch, min(1.0, (i + 1) / 40), float(count))
        if i % 100 == 99:
            print("phrases" if i < a.phrases else "principles", i + 1, "train", np.asarray(right)[0].round(3), wording(), flush=True)

    queue = multiprocessing.Queue(16)
    producer = multiprocessing.Process(target=_produce, args=(queue, a.tokenizer, a.seed + start, a.tokens, a.steps, start, parts), daemon=True)
    producer.start()
    began, seen, losses, hits = time.time(), 0, [], np.zeros((5, 2))
    step = start - 1
    for step in range(start, a.steps):
        progress = max((step + 1) / a.steps, (time.time() - began) / (60 * a.minutes))
        rate, last = rate_at(step, progress), progress >= 1
        count += 1
        p, moments, _ = step_principle(p, moments, halves(batches.principle_batch, 128), rate, float(count))
        # The network learns to compare long before it learns to read.
        if step % 2 or step == start:
            p, moments, compared = step_verdict(p, moments, halves(batches.verdict_batch, 24), rate, float(count))
        p, moments, copied = step_copy(p, moments, halves(batches.copy_batch, 16), rate, float(count))
        batch = queue.get()
        batch["forms"] = np.stack([batches.form_batch(rng, forms, 192) for _ in range(parts)])
        p, moments, loss, hit = step_items(p, moments, batch, rate, float(count))
        seen += batch["ids"].size
        losses.append(np.asarray(loss).mean(0))
        hits += np.asarray(hit).sum(0)
        if step % 25 == 24 or last:
            seconds = spent + time.time() - began
            print(f"step {step + 1} {seconds / 60:.1f} min {seen / (time.time() - began):.0f} tok/s | main/asked/marks/owner/level/pick/look/copy/form",
                  " ".join(f"{v:.3f}" for v in np.mean(losses, 0)), "| right layout/says/level/score/rank", " ".join(f"{v:.3f}" for v in hits[:, 0] / np.maximum(1, hits[:, 1])),
                  "| compared", f"{float(compared[0]):.3f}", "copied", f"{float(copied[0]):.3f}", "|", wording(), flush=True)
            losses, hits = [], np.zeros((5, 2))
        if step % 25 == 24 or last:
            first = lambda tree: jax.tree.map(lambda x: np.asarray(x[0]), tree)
            saved = dict(p=first(p), moments=first(moments), step=step + 1, seconds=spent + time.time() - began, config=c.__dict__)
            partial = Path(a.out + ".part")
            partial.write_bytes(pickle.dumps(saved))
            partial.rename(a.out)
        if last:
            break
    producer.terminate()
    print(json.dumps(dict(steps=step + 1, minutes=round((spent + time.time() - began) / 60, 1))))


if __name__ == "__main__":
    # The producer must not inherit the threads of the array library.
    multiprocessing.set_start_method("spawn")
    main()
