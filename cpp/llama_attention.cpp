#include "llama_attention.h"

#include <algorithm>

// On Windows, GCC does not align such registers on the stack.
#if defined(__x86_64__) && !defined(_WIN32) && (defined(__GNUC__) || defined(__clang__))

#include <cmath>
#include <cstring>
#include <iterator>

#include "llama_attention_ahead.h"
#include "llama_attention_parts.h"
#include "llama_avx512.h"

namespace dicast::attention {

namespace {

// Numbers in a register.
constexpr int64_t LANES = 16;
constexpr int64_t STRIPES = CELLS / LANES;

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
    int32_t cells[CELLS];
    uint16_t added[CELLS];
};

// What a thread computes in.
template <int SIZE>
struct Scratch {
    Rows<SIZE> rows[KEY_HEADS];
    alignas(64) float weights[ROWS][CELLS];
    // Keys turned over: of 16 cells the first numbers, then the second ones, and so on.
    alignas(64) float keys[SIZE][LANES];
    alignas(64) float values[CELLS][SIZE];
    Waiting waiting[ROWS];
};

DICAST_AVX512 inline __m512 widen(const char *halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(halves)));
}

// Turns the keys of 16 cells over.
template <int SIZE>
DICAST_AVX512 void turn_keys(const char *keys, size_t cell, float (*to)[LANES]) {
    for (int64_t at = 0; at < SIZE; at += LANES) {
        __m512 rows[LANES];
        for (int64_t i = 0; i < LANES; i++) {
            rows[i] = widen(keys + i * cell + 2 * at);
        }
        turn(rows);
        for (int64_t i = 0; i < LANES; i++) {
            _mm512_store_ps(to[at + i], rows[i]);
        }
    }
}

// The scores of COUNT rows for 16 cells whose keys are turned over.
template <int SIZE, int COUNT>
DICAST_AVX512 inline void scores_of_turned(const float *const *queries, const float (*keys)[LANES],
                                           float *const *scores) {
    // Two sums a row: a product need not wait for the one before it.
    __m512 even[COUNT];
    __m512 odd[COUNT];
    for (int row = 0; row < COUNT; row++) {
        even[row] = _mm512_setzero_ps();
        odd[row] = _mm512_setzero_ps();
    }
    for (int64_t at = 0; at < SIZE; at += 2) {
        const __m512 first = _mm512_load_ps(keys[at]);
        const __m512 second = _mm512_load_ps(keys[at + 1]);
        for (int row = 0; row < COUNT; row++) {
            even[row] = _mm512_fmadd_ps(_mm512_set1_ps(queries[row][at]), first, even[row]);
            odd[row] = _mm512_fmadd_ps(_mm512_set1_ps(queries[row][at + 1]), second, odd[row]);
        }
    }
    for (int row = 0; row < COUNT; row++) {
        _mm512_store_ps(scores[row], _mm512_add_ps(even[row], odd[row]));
    }
}

// The scores of COUNT rows that follow each other, for 16 / COUNT cells.
template <int SIZE, int COUNT>
DICAST_AVX512 inline void scores_of(const Rows<SIZE> &rows, Scratch<SIZE> &scratch, int64_t row,
                                    const char *const *keys, int64_t first) {
    constexpr int64_t EACH = LANES / COUNT;
    __m512 sums[LANES];
    for (int64_t at = 0; at < SIZE; at += LANES) {
        __m512 queries[COUNT];
        for (int i = 0; i < COUNT; i++) {
            queries[i] = _mm512_load_ps(rows.queries[row + i] + at);
        }
        for (int64_t cell = 0; cell < EACH; cell++) {
            const __m512 key = widen(keys[cell] + 2 * at);
            for (int i = 0; i < COUNT; i++) {
                __m512 &sum = sums[i * EACH + cell];
                sum = at == 0 ? _mm512_mul_ps(queries[i], key) : _mm512_fmadd_ps(queries[i], key, sum);
            }
        }
    }
    const __m512 scores = sums_of(sums);
    if constexpr (COUNT == 1) {
        _mm512_store_ps(scratch.weights[row] + first, scores);
    } else {
        _mm256_store_ps(scratch.weights[row] + first, _mm512_castps512_ps256(scores));
        _mm256_store_ps(scratch.weights[row + 1] + first, _mm512_extractf32x8_ps(scores, 1));
    }
}

// Makes weights of scores: adds the mask, and brings the row's largest score and the sum of its weights up to date.
template <int SIZE>
DICAST_AVX512 void weigh(Rows<SIZE> &rows, Scratch<SIZE> &scratch, int64_t row, const char *mask, uint64_t cells) {
    float *weights = scratch.weights[row];
    __m512 scores[STRIPES];
    __m512 most = _mm512_set1_ps(-INFINITY);
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        const auto kept = static_cast<__mmask16>(cells >> (stripe * LANES));
        const __m512 score = _mm512_add_ps(_mm512_load_ps(weights + stripe * LANES), widen(mask + 2 * stripe * LANES));
        // What lies in a cell that is hidden means nothing.
        scores[stripe] = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), kept, score);
        most = _mm512_max_ps(most, scores[stripe]);
    }
    const float before = rows.most[row];
    const float now = std::max(before, _mm512_reduce_max_ps(most));
    if (now > before) {
        const float factor = before == -INFINITY ? 0.0F : std::exp(before - now);
        rows.sums[row] *= factor;
        for (int64_t at = 0; at < SIZE; at += LANES) {
            float *result = rows.results[row] + at;
            _mm512_store_ps(result, _mm512_mul_ps(_mm512_load_ps(result), _mm512_set1_ps(factor)));
        }
        rows.most[row] = now;
    }
    __m512 sum = _mm512_setzero_ps();
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        const auto kept = static_cast<__mmask16>(cells >> (stripe * LANES));
        const __m512 weight = _mm512_maskz_mov_ps(kept, power(_mm512_sub_ps(scores[stripe], _mm512_set1_ps(now))));
        _mm512_store_ps(weights + stripe * LANES, weight);
        sum = _mm512_add_ps(sum, weight);
    }
    rows.sums[row] += _mm512_reduce_add_ps(sum);
}

// The values that a token sees, some of a block or all of it, as they were widened; `place` is where the weight is.
template <int SIZE>
struct Some {
    const float (*values)[SIZE];
    const int32_t *places;
    int64_t place(int64_t i) const { return places[i]; }
    DICAST_AVX512 __m512 read(int64_t i, int64_t at) const { return _mm512_load_ps(values[places[i]] + at); }
};

template <int SIZE>
struct Whole {
    const float (*values)[SIZE];
    static int64_t place(int64_t i) { return i; }
    DICAST_AVX512 __m512 read(int64_t i, int64_t at) const { return _mm512_load_ps(values[i] + at); }
};

// Values as they lie in the pool.
struct Scattered {
    const char *const *values;
    static int64_t place(int64_t i) { return i; }
    DICAST_AVX512 __m512 read(int64_t i, int64_t at) const { return widen(values[i] + 2 * at); }
};

// Adds the values from `first` to `last` to PARTS * 16 numbers of the results of COUNT rows that follow each other.
template <int SIZE, int COUNT, int PARTS, class Values>
DICAST_AVX512 inline void add_values(Rows<SIZE> &rows, const Scratch<SIZE> &scratch, int64_t row, int64_t at,
                                     const Values &values, int64_t first, int64_t last) {
    __m512 results[COUNT][PARTS];
    for (int i = 0; i < COUNT; i++) {
        for (int part = 0; part < PARTS; part++) {
            results[i][part] = _mm512_load_ps(rows.results[row + i] + at + part * LANES);
        }
    }
    for (int64_t one = first; one < last; one++) {
        for (int part = 0; part < PARTS; part++) {
            const __m512 some = values.read(one, at + part * LANES);
            for (int i = 0; i < COUNT; i++) {
                const __m512 weight = _mm512_set1_ps(scratch.weights[row + i][values.place(one)]);
                results[i][part] = _mm512_fmadd_ps(weight, some, results[i][part]);
            }
        }
    }
    for (int i = 0; i < COUNT; i++) {
        for (int part = 0; part < PARTS; part++) {
            _mm512_store_ps(rows.results[row + i] + at + part * LANES, results[i][part]);
        }
    }
}

// As many parts of a value as registers can hold for two rows.
constexpr int parts_together(int size) {
    for (int parts = 8; parts > 1; parts--) {
        if (size / LANES % parts == 0) {
            return parts;
        }
    }
    return 1;
}

template <int SIZE, class Asking, class Values>
DICAST_AVX512 void add_values(Rows<SIZE> &rows, const Scratch<SIZE> &scratch, Asking &ahead, int64_t row, int64_t heads,
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

// Computes cells as they lie in the pool, for the heads of a token: `count` of them, and after them others whose scores
// are not used.
template <int SIZE, class Asking>
DICAST_AVX512 void compute_cells(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead,
                                 int64_t token, const int32_t (&cells)[CELLS], int64_t count, const char *mask) {
    const uint64_t some = count == CELLS ? ALL : (uint64_t{1} << count) - 1;
    const int64_t row = token * part.heads;
    for (int64_t key_head = 0; key_head < part.key_heads; key_head++) {
        Rows<SIZE> &rows = scratch.rows[key_head];
        const char *keys[CELLS];
        const char *values[CELLS];
        for (int64_t i = 0; i < CELLS; i++) {
            keys[i] = problem.keys + (part.first_key_head + key_head) * problem.key_head + cells[i] * problem.key_cell;
            values[i] =
                problem.values + (part.first_key_head + key_head) * problem.value_head + cells[i] * problem.value_cell;
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
            weigh(rows, scratch, row + head, mask, some);
        }
        add_values(rows, scratch, ahead, row, part.heads, Scattered{values}, count);
    }
}

// Computes the cells that wait for a token. Meanwhile those that wait for the next ones are asked for.
template <int SIZE, class Asking>
DICAST_AVX512 void compute_waiting(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead,
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
    std::fill(waiting.cells + waiting.count, waiting.cells + CELLS, waiting.cells[0]);
    compute_cells(problem, part, scratch, ahead, token, waiting.cells, waiting.count,
                  reinterpret_cast<const char *>(waiting.added));
    ahead.rest();
    waiting.count = 0;
    waiting.asked = 0;
}

// Lets cells of a block wait until there are enough of them, unless it has enough.
template <int SIZE, class Asking>
DICAST_AVX512 void wait(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead, int64_t token,
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
        if (waiting.count == CELLS) {
            compute_waiting(problem, part, scratch, ahead, token);
        }
    }
}

// Computes a block of cells that many rows see.
template <int SIZE, class Asking>
DICAST_AVX512 void compute_block(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, Asking &ahead,
                                 int64_t key_head, const Block &block) {
    const char *keys =
        problem.keys + (part.first_key_head + key_head) * problem.key_head + block.first * problem.key_cell;
    const char *values =
        problem.values + (part.first_key_head + key_head) * problem.value_head + block.first * problem.value_cell;
    Rows<SIZE> &own = scratch.rows[key_head];
    const int64_t rows = part.tokens * part.heads;
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        if ((block.any >> (stripe * LANES) & 0xFFFF) == 0) {
            continue;
        }
        turn_keys<SIZE>(keys + stripe * LANES * problem.key_cell, problem.key_cell, scratch.keys);
        const float *queries[ROWS];
        float *scores[ROWS];
        int64_t count = 0;
        for (int64_t row = 0; row < rows; row++) {
            if ((block.cells[row / part.heads] >> (stripe * LANES) & 0xFFFF) != 0) {
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
            _mm512_store_ps(scratch.values[cell] + at, widen(values + cell * problem.value_cell + 2 * at));
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
            weigh(own, scratch, row + head, mask, cells);
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
DICAST_AVX512 void compute_part(const Problem &problem, const Part &part, Scratch<SIZE> &scratch) {
    const int64_t rows = part.tokens * part.heads;
    for (int64_t key_head = 0; key_head < part.key_heads; key_head++) {
        Rows<SIZE> &own = scratch.rows[key_head];
        for (int64_t row = 0; row < rows; row++) {
            const Place at = place(problem, part, key_head, row);
            const auto *query = reinterpret_cast<const float *>(problem.queries + at.token * problem.query_token +
                                                                at.head * problem.query_head);
            for (int64_t i = 0; i < SIZE; i += LANES) {
                const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(query + i), _mm512_set1_ps(problem.scale));
                _mm512_store_ps(own.queries[row] + i, scaled);
                _mm512_store_ps(own.results[row] + i, _mm512_setzero_ps());
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
                _mm512_storeu_ps(result + i,
                                 _mm512_mul_ps(_mm512_load_ps(own.results[row] + i), _mm512_set1_ps(factor)));
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

struct Size {
    int64_t size;
    size_t scratch;
    void (*compute)(const Problem &, const Part &, void *);
};

template <int SIZE>
constexpr Size size_of() {
    return {SIZE, sizeof(Scratch<SIZE>), compute_sized<SIZE>};
}

constexpr Size sizes[] = {size_of<32>(), size_of<64>(), size_of<80>(), size_of<96>(), size_of<128>(), size_of<256>()};

const Size *find(int64_t size) {
    const Size *end = std::end(sizes);
    const Size *found = std::find_if(std::begin(sizes), end, [&](const Size &one) { return one.size == size; });
    return found == end ? nullptr : found;
}

}  // namespace

bool available(int64_t size) {
    static const bool known = has_avx512();
    return known && find(size) != nullptr;
}

int64_t parts(const Problem &problem, int64_t threads) { return cut(problem, threads).parts(); }

size_t scratch(int64_t size) { return find(size)->scratch; }

void compute(const Problem &problem, int64_t threads, int64_t part, void *scratch) {
    const Cut by = cut(problem, threads);
    const int64_t sharing = problem.heads / problem.key_heads;
    const int64_t key_head = part / by.parts_of_key_heads() * by.key_heads;
    const int64_t group = part % by.parts_of_key_heads() / by.parts_of_group();
    const int64_t in_group = part % by.parts_of_group();
    // Where the group begins and how much of it there is, then the same of the part in it.
    const int64_t group_head = group / by.token_groups * by.heads;
    const int64_t group_token = group % by.token_groups * by.tokens;
    const int64_t group_heads = std::min(by.heads, sharing - group_head);
    const int64_t group_tokens = std::min(by.tokens, problem.tokens - group_token);
    const int64_t head = in_group / by.token_parts * by.part_heads;
    const int64_t token = in_group % by.token_parts * by.part_tokens;
    // The last group can be smaller than the others.
    if (head < group_heads && token < group_tokens) {
        const Part one = {
            key_head,
            std::min(by.key_heads, problem.key_heads - key_head),
            group_head + head,
            std::min(by.part_heads, group_heads - head),
            group_token + token,
            std::min(by.part_tokens, group_tokens - token),
            group_token,
            group_tokens,
            group_heads,
        };
        find(problem.size)->compute(problem, one, scratch);
    }
}

}  // namespace dicast::attention

#else

namespace dicast::attention {

bool available(int64_t) { return false; }
int64_t parts(const Problem &, int64_t) { return 0; }
size_t scratch(int64_t) { return 0; }
void compute(const Problem &, int64_t, int64_t, void *) {}

}  // namespace dicast::attention

#endif
