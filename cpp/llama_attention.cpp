#include "llama_attention.h"

#include <algorithm>

// On Windows, GCC does not align such registers on the stack.
#if defined(__x86_64__) && !defined(_WIN32) && (defined(__GNUC__) || defined(__clang__))

#include <cmath>
#include <cstring>
#include <iterator>

#include "llama_avx512.h"

namespace dicast::attention {

namespace {

// Rows: a head of a token each. So many that their queries and results stay in the cache.
constexpr int64_t ROWS = 32;
// Heads of one token that are computed together, at most.
constexpr int64_t HEADS = 8;
// Numbers in a register.
constexpr int64_t LANES = 16;
constexpr int64_t STRIPES = CELLS / LANES;
// About what a block costs, in instructions: to turn its keys over, and then for each row; or, with the keys as they
// lie, for each cell that a row sees.
constexpr int64_t TURNING = 3000;
constexpr int64_t TURNED_ROW = 512;
constexpr int64_t CELL = 15;
constexpr uint16_t HIDDEN = 0xFC00;
constexpr uint64_t ALL = ~uint64_t{0};

// What a thread computes in.
template <int SIZE>
struct Scratch {
    alignas(64) float queries[ROWS][SIZE];
    alignas(64) float results[ROWS][SIZE];
    alignas(64) float weights[ROWS][CELLS];
    // Keys turned over: of 16 cells the first numbers, then the second ones, and so on.
    alignas(64) float keys[SIZE][LANES];
    alignas(64) float values[CELLS][SIZE];
    float most[ROWS];
    float sums[ROWS];
    // Cells that a token sees and that are computed later, with what the mask adds to their scores.
    struct {
        int64_t count;
        int32_t cells[CELLS];
        uint16_t added[CELLS];
    } waiting[ROWS];
};

// The tokens and heads of a part.
struct Part {
    int64_t key_head;
    int64_t first_head, heads;
    int64_t first_token, tokens;
    // The tokens and the number of heads of the group that the part belongs to.
    int64_t group_token, group_tokens, group_heads;
};

// How a problem is cut: into groups of heads and tokens, and, if there are too few of these for the threads, each group
// into parts. How a block of cells is computed, which shows in the last bits, is decided for the group, so that the
// results do not depend on the number of threads.
struct Cut {
    // Of a whole group, and of a part.
    int64_t heads, tokens;
    int64_t part_heads, part_tokens;
    int64_t head_groups, token_groups;
    // Of a group.
    int64_t head_parts, token_parts;

    int64_t parts_of_group() const { return head_parts * token_parts; }
    int64_t parts_of_key_head() const { return head_groups * token_groups * parts_of_group(); }
};

int64_t quotient(int64_t number, int64_t divisor) { return (number + divisor - 1) / divisor; }

Cut cut(const Problem &problem, int64_t threads) {
    const int64_t sharing = problem.heads / problem.key_heads;
    const int64_t heads = std::min(sharing, HEADS);
    const int64_t tokens = std::min(ROWS / heads, problem.tokens);
    Cut cut{heads, tokens, heads, tokens, quotient(sharing, heads), quotient(problem.tokens, tokens), 1, 1};
    // Two parts a thread: one that is late does not keep all others waiting.
    const auto few = [&](int64_t enough) {
        return threads > 1 && cut.parts_of_key_head() * problem.key_heads < enough * threads;
    };
    while (few(2) && cut.part_tokens > 1) {
        cut.part_tokens = quotient(cut.part_tokens, 2);
        cut.token_parts = quotient(tokens, cut.part_tokens);
    }
    while (few(1) && cut.part_heads > 1) {
        cut.part_heads = quotient(cut.part_heads, 2);
        cut.head_parts = quotient(heads, cut.part_heads);
    }
    return cut;
}

DICAST_AVX512 inline __m512 widen(const char *halves) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(halves)));
}

// The cells of a block that a token sees.
DICAST_AVX512 inline uint64_t seen(const char *mask) {
    const __m512i hidden = _mm512_set1_epi16(static_cast<int16_t>(HIDDEN));
    const uint64_t low = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(mask), hidden);
    const uint64_t high = _mm512_cmpneq_epi16_mask(_mm512_loadu_si512(mask + 64), hidden);
    return low | high << 32;
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
DICAST_AVX512 inline void scores_of(Scratch<SIZE> &scratch, int64_t row, const char *const *keys, int64_t first) {
    constexpr int64_t EACH = LANES / COUNT;
    __m512 sums[LANES];
    for (int64_t at = 0; at < SIZE; at += LANES) {
        __m512 queries[COUNT];
        for (int i = 0; i < COUNT; i++) {
            queries[i] = _mm512_load_ps(scratch.queries[row + i] + at);
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
DICAST_AVX512 void weigh(Scratch<SIZE> &scratch, int64_t row, const char *mask, uint64_t cells) {
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
    const float before = scratch.most[row];
    const float now = std::max(before, _mm512_reduce_max_ps(most));
    if (now > before) {
        const float factor = before == -INFINITY ? 0.0F : std::exp(before - now);
        scratch.sums[row] *= factor;
        for (int64_t at = 0; at < SIZE; at += LANES) {
            float *result = scratch.results[row] + at;
            _mm512_store_ps(result, _mm512_mul_ps(_mm512_load_ps(result), _mm512_set1_ps(factor)));
        }
        scratch.most[row] = now;
    }
    __m512 sum = _mm512_setzero_ps();
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        const auto kept = static_cast<__mmask16>(cells >> (stripe * LANES));
        const __m512 weight = _mm512_maskz_mov_ps(kept, power(_mm512_sub_ps(scores[stripe], _mm512_set1_ps(now))));
        _mm512_store_ps(weights + stripe * LANES, weight);
        sum = _mm512_add_ps(sum, weight);
    }
    scratch.sums[row] += _mm512_reduce_add_ps(sum);
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

// Adds values to PARTS * 16 numbers of the results of COUNT rows that follow each other.
template <int SIZE, int COUNT, int PARTS, class Values>
DICAST_AVX512 inline void add_values(Scratch<SIZE> &scratch, int64_t row, int64_t at, const Values &values,
                                     int64_t count) {
    __m512 results[COUNT][PARTS];
    for (int i = 0; i < COUNT; i++) {
        for (int part = 0; part < PARTS; part++) {
            results[i][part] = _mm512_load_ps(scratch.results[row + i] + at + part * LANES);
        }
    }
    for (int64_t one = 0; one < count; one++) {
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
            _mm512_store_ps(scratch.results[row + i] + at + part * LANES, results[i][part]);
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

template <int SIZE, class Values>
DICAST_AVX512 void add_values(Scratch<SIZE> &scratch, int64_t row, int64_t rows, const Values &values, int64_t count) {
    constexpr int PARTS = parts_together(SIZE);
    for (int64_t at = 0; at < SIZE; at += PARTS * LANES) {
        int64_t i = 0;
        for (; i + 2 <= rows; i += 2) {
            add_values<SIZE, 2, PARTS>(scratch, row + i, at, values, count);
        }
        if (i < rows) {
            add_values<SIZE, 1, PARTS>(scratch, row + i, at, values, count);
        }
    }
}

// Computes cells as they lie in the pool, for the heads of a token: `count` of them, and after them others whose scores
// are not used.
template <int SIZE>
DICAST_AVX512 void compute_cells(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, int64_t token,
                                 const int32_t (&cells)[CELLS], int64_t count, const char *mask) {
    const char *keys[CELLS];
    const char *values[CELLS];
    for (int64_t i = 0; i < CELLS; i++) {
        keys[i] = problem.keys + part.key_head * problem.key_head + cells[i] * problem.key_cell;
        values[i] = problem.values + part.key_head * problem.value_head + cells[i] * problem.value_cell;
    }
    const int64_t row = token * part.heads;
    int64_t head = 0;
    for (; head + 2 <= part.heads; head += 2) {
        for (int64_t first = 0; first < count; first += LANES / 2) {
            scores_of<SIZE, 2>(scratch, row + head, keys + first, first);
        }
    }
    if (head < part.heads) {
        for (int64_t first = 0; first < count; first += LANES) {
            scores_of<SIZE, 1>(scratch, row + head, keys + first, first);
        }
    }
    const uint64_t some = count == CELLS ? ALL : (uint64_t{1} << count) - 1;
    for (head = 0; head < part.heads; head++) {
        weigh(scratch, row + head, mask, some);
    }
    add_values(scratch, row, part.heads, Scattered{values}, count);
}

// Computes the cells that wait.
template <int SIZE>
DICAST_AVX512 void compute_waiting(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, int64_t token) {
    auto &waiting = scratch.waiting[token];
    if (waiting.count > 0) {
        std::fill(waiting.cells + waiting.count, waiting.cells + CELLS, waiting.cells[0]);
        compute_cells(problem, part, scratch, token, waiting.cells, waiting.count,
                      reinterpret_cast<const char *>(waiting.added));
        waiting.count = 0;
    }
}

// Lets cells of a block wait until there are enough of them, unless it has enough.
template <int SIZE>
DICAST_AVX512 void wait(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, int64_t token, int64_t first,
                        uint64_t cells, const char *mask) {
    if (cells == ALL) {
        int32_t places[CELLS];
        for (int64_t i = 0; i < CELLS; i++) {
            places[i] = static_cast<int32_t>(first + i);
        }
        compute_cells(problem, part, scratch, token, places, CELLS, mask);
        return;
    }
    auto &waiting = scratch.waiting[token];
    for (; cells != 0; cells &= cells - 1) {
        const int64_t at = __builtin_ctzll(cells);
        const int64_t cell = first + at;
        const char *key = problem.keys + part.key_head * problem.key_head + cell * problem.key_cell;
        const char *value = problem.values + part.key_head * problem.value_head + cell * problem.value_cell;
        for (int64_t line = 0; line < 2 * SIZE; line += 64) {
            __builtin_prefetch(key + line, 0, 2);
            __builtin_prefetch(value + line, 0, 2);
        }
        waiting.cells[waiting.count] = static_cast<int32_t>(cell);
        std::memcpy(&waiting.added[waiting.count], mask + 2 * at, 2);
        if (++waiting.count == CELLS) {
            compute_waiting(problem, part, scratch, token);
        }
    }
}

// Computes a block of cells that many rows see.
template <int SIZE>
DICAST_AVX512 void compute_block(const Problem &problem, const Part &part, Scratch<SIZE> &scratch, int64_t first,
                                 const uint64_t *cells, uint64_t any) {
    const char *keys = problem.keys + part.key_head * problem.key_head + first * problem.key_cell;
    const char *values = problem.values + part.key_head * problem.value_head + first * problem.value_cell;
    const int64_t rows = part.tokens * part.heads;
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        if ((any >> (stripe * LANES) & 0xFFFF) == 0) {
            continue;
        }
        turn_keys<SIZE>(keys + stripe * LANES * problem.key_cell, problem.key_cell, scratch.keys);
        const float *queries[ROWS];
        float *scores[ROWS];
        int64_t count = 0;
        for (int64_t row = 0; row < rows; row++) {
            if ((cells[row / part.heads] >> (stripe * LANES) & 0xFFFF) != 0) {
                queries[count] = scratch.queries[row];
                scores[count++] = scratch.weights[row] + stripe * LANES;
            }
        }
        int64_t row = 0;
        for (; row + 6 <= count; row += 6) {
            scores_of_turned<SIZE, 6>(queries + row, scratch.keys, scores + row);
        }
        for (; row + 2 <= count; row += 2) {
            scores_of_turned<SIZE, 2>(queries + row, scratch.keys, scores + row);
        }
        if (row < count) {
            scores_of_turned<SIZE, 1>(queries + row, scratch.keys, scores + row);
        }
    }
    for (uint64_t left = any; left != 0; left &= left - 1) {
        const int64_t cell = __builtin_ctzll(left);
        for (int64_t at = 0; at < SIZE; at += LANES) {
            _mm512_store_ps(scratch.values[cell] + at, widen(values + cell * problem.value_cell + 2 * at));
        }
    }
    for (int64_t token = 0; token < part.tokens; token++) {
        const char *mask = problem.mask + (part.first_token + token) * problem.mask_token + 2 * first;
        if (cells[token] == 0) {
            continue;
        }
        const int64_t row = token * part.heads;
        for (int64_t head = 0; head < part.heads; head++) {
            weigh(scratch, row + head, mask, cells[token]);
        }
        if (cells[token] == ALL) {
            add_values(scratch, row, part.heads, Whole<SIZE>{scratch.values}, CELLS);
            continue;
        }
        // Hidden cells are passed over, and not added with a weight of 0: what lies there need not be a number.
        int32_t places[CELLS];
        int64_t count = 0;
        for (uint64_t left = cells[token]; left != 0; left &= left - 1) {
            places[count++] = __builtin_ctzll(left);
        }
        add_values(scratch, row, part.heads, Some<SIZE>{scratch.values, places}, count);
    }
}

template <int SIZE>
DICAST_AVX512 void compute_part(const Problem &problem, const Part &part, Scratch<SIZE> &scratch) {
    const int64_t rows = part.tokens * part.heads;
    for (int64_t row = 0; row < rows; row++) {
        const int64_t token = part.first_token + row / part.heads;
        const int64_t head = part.first_head + row % part.heads;
        const auto *query =
            reinterpret_cast<const float *>(problem.queries + token * problem.query_token + head * problem.query_head);
        for (int64_t at = 0; at < SIZE; at += LANES) {
            const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(query + at), _mm512_set1_ps(problem.scale));
            _mm512_store_ps(scratch.queries[row] + at, scaled);
            _mm512_store_ps(scratch.results[row] + at, _mm512_setzero_ps());
        }
        scratch.most[row] = -INFINITY;
        scratch.sums[row] = 0.0F;
    }
    for (int64_t token = 0; token < part.tokens; token++) {
        scratch.waiting[token].count = 0;
    }
    const char *masks = problem.mask + part.group_token * problem.mask_token;
    const int64_t before = part.first_token - part.group_token;
    for (int64_t first = 0; first < problem.cells; first += CELLS) {
        uint64_t cells[ROWS];
        int64_t seeing = 0;
        int64_t all = 0;
        for (int64_t token = 0; token < part.group_tokens; token++) {
            cells[token] = seen(masks + token * problem.mask_token + 2 * first);
            seeing += cells[token] != 0;
            all += __builtin_popcountll(cells[token]);
        }
        const uint64_t *own = cells + before;
        uint64_t any = 0;
        for (int64_t token = 0; token < part.tokens; token++) {
            any |= own[token];
        }
        if (any == 0) {
            continue;
        }
        if (TURNING + TURNED_ROW * seeing * part.group_heads < CELL * all * part.group_heads) {
            compute_block(problem, part, scratch, first, own, any);
            continue;
        }
        for (int64_t token = 0; token < part.tokens; token++) {
            const char *mask = masks + (before + token) * problem.mask_token + 2 * first;
            wait(problem, part, scratch, token, first, own[token], mask);
        }
    }
    for (int64_t token = 0; token < part.tokens; token++) {
        compute_waiting(problem, part, scratch, token);
    }
    for (int64_t row = 0; row < rows; row++) {
        const int64_t token = part.first_token + row / part.heads;
        const int64_t head = part.first_head + row % part.heads;
        float *result = problem.results + (token * problem.heads + head) * SIZE;
        // A token that sees nothing gets nothing.
        const float factor = scratch.sums[row] == 0.0F ? 0.0F : 1.0F / scratch.sums[row];
        for (int64_t at = 0; at < SIZE; at += LANES) {
            _mm512_storeu_ps(result + at,
                             _mm512_mul_ps(_mm512_load_ps(scratch.results[row] + at), _mm512_set1_ps(factor)));
        }
    }
}

template <int SIZE>
void compute_sized(const Problem &problem, const Part &part, void *memory) {
    compute_part(problem, part, *static_cast<Scratch<SIZE> *>(memory));
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

int64_t parts(const Problem &problem, int64_t threads) {
    return cut(problem, threads).parts_of_key_head() * problem.key_heads;
}

size_t scratch(int64_t size) { return find(size)->scratch; }

void compute(const Problem &problem, int64_t threads, int64_t part, void *scratch) {
    const Cut by = cut(problem, threads);
    const int64_t sharing = problem.heads / problem.key_heads;
    const int64_t key_head = part / by.parts_of_key_head();
    const int64_t group = part % by.parts_of_key_head() / by.parts_of_group();
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
            key_head * sharing + group_head + head,
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
