// The kernels of attention, in whole registers: to be included after llama_avx512.h or llama_avx2.h.
#ifndef DICAST_LLAMA_ATTENTION_KERNELS_H
#define DICAST_LLAMA_ATTENTION_KERNELS_H

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "llama_attention.h"
#include "llama_attention_ahead.h"
#include "llama_attention_parts.h"
#include "llama_wide.h"

namespace dicast::attention::DICAST_WIDE {

namespace {

// So many cells of a token wait until they are computed. Cells of judgments that are decoded together lie in turns, at
// distances that are powers of two, so that many of them share a place in the cache. Measured with AVX2, 16 cells take
// 0.87 of the time of 64 (of one with AVX-512, there was no difference between 32 and 64).
constexpr int64_t LIST = LANES == 8 ? 16 : CELLS;
// Keys and values are asked for again, for the first cache, so many cells before they are used; 0: they are not.
// Measured with AVX2: 0.75 to 0.9 of the time.
constexpr int64_t NEAR = LANES == 8 ? 8 : 0;
constexpr int64_t STRIPES = CELLS / LANES;
constexpr uint64_t STRIPE = (uint64_t{1} << LANES) - 1;

// The rows of a head of keys.
template <int SIZE>
struct Rows {
    alignas(64) float queries[ROWS][SIZE];
    alignas(64) float results[ROWS][SIZE];
    float most[ROWS];
    float sums[ROWS];
};

// Cells that a token sees and that are computed later, with what the mask adds to their scores.
struct Waiting {
    int64_t count;
    // So many of them were asked for.
    int64_t asked;
    int32_t cells[LIST];
    alignas(64) uint16_t added[LIST];
};

// What a thread computes in.
template <int SIZE>
struct Scratch {
    Rows<SIZE> rows[KEY_HEADS];
    alignas(64) float weights[ROWS][CELLS];
    // Keys turned over: of as many cells as a register holds, the first numbers, then the second ones, and so on.
    alignas(64) float keys[SIZE][LANES];
    alignas(64) float values[CELLS][SIZE];
    Waiting waiting[ROWS];
};

// Turns the keys of as many cells over as a register holds.
template <int SIZE>
DICAST_CODE void turn_keys(const char *keys, size_t cell, float (*to)[LANES]) {
    for (int64_t at = 0; at < SIZE; at += LANES) {
        Floats rows[LANES];
        for (int64_t i = 0; i < LANES; i++) {
            rows[i] = widen(keys + i * cell + 2 * at);
        }
        turn(rows);
        for (int64_t i = 0; i < LANES; i++) {
            store(to[at + i], rows[i]);
        }
    }
}

// The scores of COUNT rows for cells whose keys are turned over.
template <int SIZE, int COUNT>
DICAST_CODE inline void scores_of_turned(const float *const *queries, const float (*keys)[LANES],
                                         float *const *scores) {
    // Two sums a row: a product need not wait for the one before it.
    Floats even[COUNT];
    Floats odd[COUNT];
    for (int row = 0; row < COUNT; row++) {
        even[row] = all(0.0F);
        odd[row] = all(0.0F);
    }
    for (int64_t at = 0; at < SIZE; at += 2) {
        const Floats first = load(keys[at]);
        const Floats second = load(keys[at + 1]);
        for (int row = 0; row < COUNT; row++) {
            even[row] = multiply_add(all(queries[row][at]), first, even[row]);
            odd[row] = multiply_add(all(queries[row][at + 1]), second, odd[row]);
        }
    }
    for (int row = 0; row < COUNT; row++) {
        store(scores[row], add(even[row], odd[row]));
    }
}

// The scores of COUNT rows that follow each other, for LANES / COUNT cells.
template <int SIZE, int COUNT>
DICAST_CODE inline void scores_of(const Rows<SIZE> &rows, Scratch<SIZE> &scratch, int64_t row, const char *const *keys,
                                  int64_t first) {
    constexpr int64_t EACH = LANES / COUNT;
    if constexpr (NEAR > 0) {
        for (int64_t cell = NEAR; cell < NEAR + EACH; cell++) {
            for (int64_t at = 0; at < 2 * SIZE; at += LINE) {
                near(keys[cell] + at);
            }
        }
    }
    Floats sums[LANES];
    for (int64_t at = 0; at < SIZE; at += LANES) {
        Floats queries[COUNT];
        for (int i = 0; i < COUNT; i++) {
            queries[i] = load(rows.queries[row + i] + at);
        }
        for (int64_t cell = 0; cell < EACH; cell++) {
            const Floats key = widen(keys[cell] + 2 * at);
            for (int i = 0; i < COUNT; i++) {
                Floats &sum = sums[i * EACH + cell];
                sum = at == 0 ? multiply(queries[i], key) : multiply_add(queries[i], key, sum);
            }
        }
    }
    const Floats scores = sums_of(sums);
    if constexpr (COUNT == 1) {
        store(scratch.weights[row] + first, scores);
    } else {
        store_halves(scratch.weights[row] + first, scratch.weights[row + 1] + first, scores);
    }
}

// Makes weights of the scores in the first `stripes` stripes: adds the mask, and brings the row's largest score and the
// sum of its weights up to date.
template <int SIZE>
DICAST_CODE void weigh(Rows<SIZE> &rows, Scratch<SIZE> &scratch, int64_t row, const char *mask, uint64_t cells,
                       int64_t stripes) {
    float *weights = scratch.weights[row];
    Floats scores[STRIPES];
    Floats most = all(-INFINITY);
    for (int64_t stripe = 0; stripe < stripes; stripe++) {
        const Floats score = add(load(weights + stripe * LANES), widen(mask + 2 * stripe * LANES));
        // What lies in a cell that is hidden means nothing.
        scores[stripe] = where(cells >> (stripe * LANES), score, all(-INFINITY));
        most = larger(most, scores[stripe]);
    }
    const float before = rows.most[row];
    const float now = std::max(before, largest(most));
    if (now > before) {
        const float factor = before == -INFINITY ? 0.0F : std::exp(before - now);
        rows.sums[row] *= factor;
        for (int64_t at = 0; at < SIZE; at += LANES) {
            float *result = rows.results[row] + at;
            store(result, multiply(load(result), all(factor)));
        }
        rows.most[row] = now;
    }
    Floats total = all(0.0F);
    for (int64_t stripe = 0; stripe < stripes; stripe++) {
        const Floats weight = where(cells >> (stripe * LANES), power(subtract(scores[stripe], all(now))), all(0.0F));
        store(weights + stripe * LANES, weight);
        total = add(total, weight);
    }
    rows.sums[row] += sum(total);
}

// The values that a token sees, some of a block or all of it, as they were widened; `place` is where the weight is;
// `soon` says that a value is read, so that one after it is asked for.
template <int SIZE>
struct Some {
    const float (*values)[SIZE];
    const int32_t *places;
    int64_t place(int64_t i) const { return places[i]; }
    static void soon(int64_t /*i*/, int64_t /*at*/) {}
    DICAST_CODE Floats read(int64_t i, int64_t at) const { return load(values[places[i]] + at); }
};

template <int SIZE>
struct Whole {
    const float (*values)[SIZE];
    static int64_t place(int64_t i) { return i; }
    static void soon(int64_t /*i*/, int64_t /*at*/) {}
    DICAST_CODE Floats read(int64_t i, int64_t at) const { return load(values[i] + at); }
};

// Values as they lie in the pool.
struct Scattered {
    const char *const *values;
    static int64_t place(int64_t i) { return i; }
    void soon(int64_t i, int64_t at) const {
        if constexpr (NEAR > 0) {
            near(values[i + NEAR] + 2 * at);
        }
    }
    DICAST_CODE Floats read(int64_t i, int64_t at) const { return widen(values[i] + 2 * at); }
};

// Adds the values from `first` to `last` to PARTS * LANES numbers of the results of COUNT rows that follow each other.
template <int SIZE, int COUNT, int PARTS, class Values>
DICAST_CODE inline void add_values(Rows<SIZE> &rows, const Scratch<SIZE> &scratch, int64_t row, int64_t at,
                                   const Values &values, int64_t first, int64_t last) {
    Floats results[COUNT][PARTS];
    for (int i = 0; i < COUNT; i++) {
        for (int part = 0; part < PARTS; part++) {
            results[i][part] = load(rows.results[row + i] + at + part * LANES);
        }
    }
    for (int64_t one = first; one < last; one++) {
        values.soon(one, at);
        for (int part = 0; part < PARTS; part++) {
            const Floats some = values.read(one, at + part * LANES);
            for (int i = 0; i < COUNT; i++) {
                const Floats weight = all(scratch.weights[row + i][values.place(one)]);
                results[i][part] = multiply_add(weight, some, results[i][part]);
            }
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int part = 0; part < PARTS; part++) {
            store(rows.results[row + i] + at + part * LANES, results[i][part]);
        }
    }
}

// As many parts of a value as registers can hold for two rows.
constexpr int parts_together(int size) {
    for (int parts = REGISTERS / 4; parts > 1; parts--) {
        if (size / LANES % parts == 0) {
            return parts;
        }
    }
    return 1;
}

template <int SIZE, class Asking, class Values>
DICAST_CODE void add_values(Rows<SIZE> &rows, const Scratch<SIZE> &scratch, Asking &ahead, int64_t row, int64_t heads,
                            const Values &values, int64_t count) {
    constexpr int PARTS = parts_together(SIZE);
    constexpr int64_t some = Asking::ASKS ? LANES : CELLS;
    for (int64_t at = 0; at < SIZE; at += PARTS * LANES) {
        for (int64_t i = 0; i < heads; i += 2) {
            for (int64_t first = 0; first < count; first += some) {
                ahead.ask();
                const int64_t last = std::min(count, first + some);
                if (i + 1 < heads) {
                    add_values<SIZE, 2, PARTS>(rows, scratch, row + i, at, values, first, last);
                } else {
                    add_values<SIZE, 1, PARTS>(rows, scratch, row + i, at, values, first, last);
                }
            }
        }
    }
}

// Computes `count` cells as they lie in the pool, for the heads of a token.
template <int SIZE, class Asking>
DICAST_CODE void compute_cells(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead,
                               int64_t token, const int32_t *cells, int64_t count, const char *mask) {
    const uint64_t some = count == CELLS ? ALL : (uint64_t{1} << count) - 1;
    const int64_t stripes = quotient(count, LANES);
    const int64_t row = token * part.heads;
    for (int64_t key_head = 0; key_head < part.key_heads; key_head++) {
        Rows<SIZE> &rows = scratch.rows[key_head];
        const char *key = problem.keys + (part.first_key_head + key_head) * problem.key_head;
        const char *value = problem.values + (part.first_key_head + key_head) * problem.value_head;
        const char *keys[CELLS + NEAR];
        const char *values[CELLS + NEAR];
        // After them a cell again, whose scores are not used.
        for (int64_t i = 0; i < stripes * LANES + NEAR; i++) {
            const int32_t cell = cells[i < count ? i : 0];
            keys[i] = key + cell * problem.key_cell;
            values[i] = value + cell * problem.value_cell;
        }
        int64_t head = 0;
        for (; head + 2 <= part.heads; head += 2) {
            for (int64_t first = 0; first < count; first += LANES / 2) {
                ahead.ask();
                scores_of<SIZE, 2>(rows, scratch, row + head, keys + first, first);
            }
        }
        if (head < part.heads) {
            for (int64_t first = 0; first < count; first += LANES) {
                ahead.ask();
                scores_of<SIZE, 1>(rows, scratch, row + head, keys + first, first);
            }
        }
        for (head = 0; head < part.heads; head++) {
            weigh(rows, scratch, row + head, mask, some, stripes);
        }
        add_values(rows, scratch, ahead, row, part.heads, Scattered{values}, count);
    }
}

// Computes the cells that wait for a token. Meanwhile those that wait for the next ones are asked for.
template <int SIZE, class Asking>
DICAST_CODE void compute_waiting(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead,
                                 int64_t token) {
    Waiting &waiting = scratch.waiting[token];
    if (waiting.count == 0) {
        return;
    }
    ahead.rest();
    int32_t cells[CELLS];
    int64_t count = 0;
    for (int64_t i = 1; i < part.tokens; i++) {
        Waiting &next = scratch.waiting[(token + i) % part.tokens];
        while (next.asked < next.count && count < CELLS) {
            cells[count++] = next.cells[next.asked++];
        }
    }
    ahead.begin(cells, count, part.heads);
    compute_cells(problem, part, scratch, ahead, token, waiting.cells, waiting.count,
                  reinterpret_cast<const char *>(waiting.added));
    ahead.rest();
    waiting.count = 0;
    waiting.asked = 0;
}

// Lets cells of a block wait until there are enough of them, unless it has enough.
template <int SIZE, class Asking>
DICAST_CODE void wait(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead, int64_t token,
                      const Block &block) {
    const char *mask = problem.mask + (part.first_token + token) * problem.mask_token + 2 * block.first;
    uint64_t cells = block.cells[token];
    if (cells == ALL) {
        int32_t places[CELLS];
        for (int64_t i = 0; i < CELLS; i++) {
            places[i] = static_cast<int32_t>(block.first + i);
        }
        compute_cells(problem, part, scratch, ahead, token, places, CELLS, mask);
        return;
    }
    Waiting &waiting = scratch.waiting[token];
    for (; cells != 0; cells &= cells - 1) {
        const int64_t at = __builtin_ctzll(cells);
        waiting.cells[waiting.count] = static_cast<int32_t>(block.first + at);
        std::memcpy(&waiting.added[waiting.count], mask + 2 * at, 2);
        waiting.count++;
        // Those of other tokens are asked for while these are computed.
        if (part.tokens == 1) {
            ahead.one(waiting.cells[waiting.asked++]);
        }
        if (waiting.count == LIST) {
            compute_waiting(problem, part, scratch, ahead, token);
        }
    }
}

// Computes a block of cells that many rows see.
template <int SIZE, class Asking>
DICAST_CODE void compute_block(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead,
                               int64_t key_head, const Block &block) {
    const char *keys =
        problem.keys + (part.first_key_head + key_head) * problem.key_head + block.first * problem.key_cell;
    const char *values =
        problem.values + (part.first_key_head + key_head) * problem.value_head + block.first * problem.value_cell;
    Rows<SIZE> &own = scratch.rows[key_head];
    const int64_t rows = part.tokens * part.heads;
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        if ((block.any >> (stripe * LANES) & STRIPE) == 0) {
            continue;
        }
        turn_keys<SIZE>(keys + stripe * LANES * problem.key_cell, problem.key_cell, scratch.keys);
        const float *queries[ROWS];
        float *scores[ROWS];
        int64_t count = 0;
        for (int64_t row = 0; row < rows; row++) {
            if ((block.cells[row / part.heads] >> (stripe * LANES) & STRIPE) != 0) {
                queries[count] = own.queries[row];
                scores[count++] = scratch.weights[row] + stripe * LANES;
            }
        }
        int64_t row = 0;
        for (; row + 6 <= count; row += 6) {
            ahead.ask();
            scores_of_turned<SIZE, 6>(queries + row, scratch.keys, scores + row);
        }
        for (; row + 2 <= count; row += 2) {
            ahead.ask();
            scores_of_turned<SIZE, 2>(queries + row, scratch.keys, scores + row);
        }
        if (row < count) {
            scores_of_turned<SIZE, 1>(queries + row, scratch.keys, scores + row);
        }
    }
    for (uint64_t left = block.any; left != 0; left &= left - 1) {
        const int64_t cell = __builtin_ctzll(left);
        for (int64_t at = 0; at < SIZE; at += LANES) {
            store(scratch.values[cell] + at, widen(values + cell * problem.value_cell + 2 * at));
        }
    }
    for (int64_t token = 0; token < part.tokens; token++) {
        const uint64_t cells = block.cells[token];
        if (cells == 0) {
            continue;
        }
        const char *mask = problem.mask + (part.first_token + token) * problem.mask_token + 2 * block.first;
        const int64_t row = token * part.heads;
        for (int64_t head = 0; head < part.heads; head++) {
            weigh(own, scratch, row + head, mask, cells, STRIPES);
        }
        if (cells == ALL) {
            add_values(own, scratch, ahead, row, part.heads, Whole<SIZE>{scratch.values}, CELLS);
            continue;
        }
        // Hidden cells are passed over, and not added with a weight of 0: what lies there need not be a number.
        int32_t places[CELLS];
        int64_t count = 0;
        for (uint64_t left = cells; left != 0; left &= left - 1) {
            places[count++] = __builtin_ctzll(left);
        }
        add_values(own, scratch, ahead, row, part.heads, Some<SIZE>{scratch.values, places}, count);
    }
}

template <int SIZE, class Asking>
DICAST_CODE void compute_part(const Problem &problem, const Part &part, Scratch<SIZE> &scratch) {
    const int64_t rows = part.tokens * part.heads;
    for (int64_t key_head = 0; key_head < part.key_heads; key_head++) {
        Rows<SIZE> &own = scratch.rows[key_head];
        for (int64_t row = 0; row < rows; row++) {
            const Place at = place(problem, part, key_head, row);
            const auto *query = reinterpret_cast<const float *>(problem.queries + at.token * problem.query_token +
                                                                at.head * problem.query_head);
            for (int64_t i = 0; i < SIZE; i += LANES) {
                const Floats scaled = multiply(load_any(query + i), all(problem.scale));
                store(own.queries[row] + i, scaled);
                store(own.results[row] + i, all(0.0F));
            }
            own.most[row] = -INFINITY;
            own.sums[row] = 0.0F;
        }
    }
    for (int64_t token = 0; token < part.tokens; token++) {
        scratch.waiting[token].count = 0;
        scratch.waiting[token].asked = 0;
    }
    Asking ahead(problem, part);
    Block next = look(problem, part, 0);
    for (int64_t first = 0; first < problem.cells; first += CELLS) {
        const Block block = next;
        if (first + CELLS < problem.cells) {
            next = look(problem, part, first + CELLS);
            ahead.begin(next, block.turned ? rows : part.heads);
        }
        if (block.turned) {
            for (int64_t key_head = 0; key_head < part.key_heads; key_head++) {
                compute_block(problem, part, scratch, ahead, key_head, block);
            }
        } else {
            for (int64_t token = 0; token < part.tokens; token++) {
                wait(problem, part, scratch, ahead, token, block);
            }
        }
        ahead.rest();
    }
    for (int64_t token = 0; token < part.tokens; token++) {
        compute_waiting(problem, part, scratch, ahead, token);
    }
    for (int64_t key_head = 0; key_head < part.key_heads; key_head++) {
        Rows<SIZE> &own = scratch.rows[key_head];
        for (int64_t row = 0; row < rows; row++) {
            const Place at = place(problem, part, key_head, row);
            float *result = problem.results + (at.token * problem.heads + at.head) * SIZE;
            // A token that sees nothing gets nothing.
            const float factor = own.sums[row] == 0.0F ? 0.0F : 1.0F / own.sums[row];
            for (int64_t i = 0; i < SIZE; i += LANES) {
                store_any(result + i, multiply(load(own.results[row] + i), all(factor)));
            }
        }
    }
}

template <int SIZE>
void compute_sized(const Problem &problem, const Part &part, void *memory) {
    auto &scratch = *static_cast<Scratch<SIZE> *>(memory);
    if (Ahead::pays(problem)) {
        compute_part<SIZE, Ahead>(problem, part, scratch);
    } else {
        compute_part<SIZE, NotAhead>(problem, part, scratch);
    }
}

template <int SIZE>
constexpr Kernel kernel() {
    return {SIZE, sizeof(Scratch<SIZE>), compute_sized<SIZE>};
}

constexpr Kernel kernels[] = {kernel<32>(), kernel<64>(), kernel<80>(), kernel<96>(), kernel<128>(), kernel<256>()};

}  // namespace

const Kernel *find(int64_t size) {
    const Kernel *end = std::end(kernels);
    const Kernel *found = std::find_if(std::begin(kernels), end, [&](const Kernel &one) { return one.size == size; });
    return found == end ? nullptr : found;
}

}  // namespace dicast::attention::DICAST_WIDE

#endif
