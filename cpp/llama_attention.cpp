#include "llama_attention.h"

#include <algorithm>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <cmath>
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
// From so many rows on it pays to turn a block of keys over.
constexpr int64_t MANY = 12;
constexpr uint16_t HIDDEN = 0xFC00;
constexpr uint64_t ALL = ~uint64_t{0};

// What a thread computes in.
template <int SIZE>
struct Scratch {
    alignas(64) float queries[ROWS][SIZE];
    alignas(64) float results[ROWS][SIZE];
    alignas(64) float weights[ROWS][CELLS];
    // Keys turned over: for 16 cells the first numbers, then the second ones, and so on.
    alignas(64) float keys[STRIPES][SIZE][LANES];
    alignas(64) float values[CELLS][SIZE];
    float most[ROWS];
    float sums[ROWS];
};

// The tokens and heads of a part.
struct Part {
    int64_t key_head;
    int64_t first_head, heads;
    int64_t first_token, tokens;
};

// How a problem is cut.
struct Cut {
    int64_t heads, tokens;
    int64_t heads_parts, token_parts;
};

Cut cut(const Problem &problem, int64_t threads) {
    const int64_t group = problem.heads / problem.key_heads;
    Cut cut{std::min(group, HEADS), 0, 0, 0};
    cut.tokens = std::min(ROWS / cut.heads, problem.tokens);
    const auto count = [&] {
        cut.heads_parts = (group + cut.heads - 1) / cut.heads;
        cut.token_parts = (problem.tokens + cut.tokens - 1) / cut.tokens;
        return cut.heads_parts * cut.token_parts * problem.key_heads;
    };
    // Two parts a thread: one that is late does not keep all others waiting.
    while (threads > 1 && count() < 2 * threads && cut.tokens > 1) {
        cut.tokens = (cut.tokens + 1) / 2;
    }
    while (threads > 1 && count() < threads && cut.heads > 1) {
        cut.heads = (cut.heads + 1) / 2;
    }
    count();
    return cut;
}

// The power of e, to single precision: 2^n times a polynomial for what is left, between -ln 2 / 2 and ln 2 / 2.
DICAST_AVX512 inline __m512 power(__m512 x) {
    // The second operand passes, if it is not a number.
    x = _mm512_max_ps(_mm512_set1_ps(-104.0F), x);
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)), _MM_FROUND_TO_NEAREST_INT);
    // ln 2 in two parts, so that the product with n is exact.
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4F), r);
    __m512 sum = _mm512_set1_ps(1.0F / 720);
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F / 120));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F / 24));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F / 6));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(0.5F));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F));
    sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(1.0F));
    return _mm512_scalef_ps(sum, n);
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

// Turns 16 registers with 16 numbers each over.
DICAST_AVX512 inline void turn(__m512 (&rows)[LANES]) {
    __m512 other[LANES];
    for (int i = 0; i < 16; i += 2) {
        other[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        other[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            const __m512d low = _mm512_castps_pd(other[i + j]);
            const __m512d high = _mm512_castps_pd(other[i + 2 + j]);
            rows[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            rows[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    // Now row 4 i + j has, in its quarter q, the numbers 4 i .. 4 i + 3 of column 4 q + j.
    for (int j = 0; j < 4; j++) {
        other[j] = _mm512_shuffle_f32x4(rows[j], rows[4 + j], 0x88);
        other[4 + j] = _mm512_shuffle_f32x4(rows[j], rows[4 + j], 0xDD);
        other[8 + j] = _mm512_shuffle_f32x4(rows[8 + j], rows[12 + j], 0x88);
        other[12 + j] = _mm512_shuffle_f32x4(rows[8 + j], rows[12 + j], 0xDD);
    }
    for (int j = 0; j < 4; j++) {
        rows[j] = _mm512_shuffle_f32x4(other[j], other[8 + j], 0x88);
        rows[8 + j] = _mm512_shuffle_f32x4(other[j], other[8 + j], 0xDD);
        rows[4 + j] = _mm512_shuffle_f32x4(other[4 + j], other[12 + j], 0x88);
        rows[12 + j] = _mm512_shuffle_f32x4(other[4 + j], other[12 + j], 0xDD);
    }
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

// The scores of a row for 16 cells.
template <int SIZE>
DICAST_AVX512 inline void scores_of(const float *query, const char *keys, size_t cell, float *scores) {
    __m512 sums[LANES];
    const __m512 first = _mm512_load_ps(query);
    for (int64_t i = 0; i < LANES; i++) {
        sums[i] = _mm512_mul_ps(first, widen(keys + i * cell));
    }
    for (int64_t at = LANES; at < SIZE; at += LANES) {
        const __m512 part = _mm512_load_ps(query + at);
        for (int64_t i = 0; i < LANES; i++) {
            sums[i] = _mm512_fmadd_ps(part, widen(keys + i * cell + 2 * at), sums[i]);
        }
    }
    // The sum of each register is the sum of the registers turned over.
    turn(sums);
    for (int64_t width = LANES / 2; width > 0; width /= 2) {
        for (int64_t i = 0; i < width; i++) {
            sums[i] = _mm512_add_ps(sums[i], sums[i + width]);
        }
    }
    _mm512_store_ps(scores, sums[0]);
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

// 16 numbers of a value from the `at`th on, as they lie in the pool or as they were widened.
DICAST_AVX512 inline __m512 some_of(const char *halves, int64_t at) { return widen(halves + 2 * at); }
DICAST_AVX512 inline __m512 some_of(const float *numbers, int64_t at) { return _mm512_load_ps(numbers + at); }

// Adds the values of the cells of a block to PARTS * 16 numbers of the results of COUNT rows that follow each other.
template <int SIZE, int COUNT, int PARTS, class Value>
DICAST_AVX512 inline void add_values(Scratch<SIZE> &scratch, int64_t row, int64_t at, const Value *values,
                                     size_t stride, uint64_t cells) {
    __m512 results[COUNT][PARTS];
    for (int i = 0; i < COUNT; i++) {
        for (int part = 0; part < PARTS; part++) {
            results[i][part] = _mm512_load_ps(scratch.results[row + i] + at + part * LANES);
        }
    }
    // Hidden cells are passed over, and not added with a weight of 0: what lies there need not be a number.
    for (; cells != 0; cells &= cells - 1) {
        const int64_t cell = __builtin_ctzll(cells);
        const Value *from = values + cell * stride;
        for (int part = 0; part < PARTS; part++) {
            const __m512 some = some_of(from, at + part * LANES);
            for (int i = 0; i < COUNT; i++) {
                results[i][part] =
                    _mm512_fmadd_ps(_mm512_set1_ps(scratch.weights[row + i][cell]), some, results[i][part]);
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

template <int SIZE, class Value>
DICAST_AVX512 void add_values(Scratch<SIZE> &scratch, int64_t row, int64_t rows, const Value *values, size_t stride,
                              uint64_t cells) {
    constexpr int PARTS = parts_together(SIZE);
    for (int64_t at = 0; at < SIZE; at += PARTS * LANES) {
        int64_t i = 0;
        for (; i + 2 <= rows; i += 2) {
            add_values<SIZE, 2, PARTS>(scratch, row + i, at, values, stride, cells);
        }
        for (; i < rows; i++) {
            add_values<SIZE, 1, PARTS>(scratch, row + i, at, values, stride, cells);
        }
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
    const char *masks = problem.mask + part.first_token * problem.mask_token;
    for (int64_t first = 0; first < problem.cells; first += CELLS) {
        uint64_t cells[ROWS];
        uint64_t any = 0;
        int64_t seeing = 0;
        for (int64_t token = 0; token < part.tokens; token++) {
            cells[token] = seen(masks + token * problem.mask_token + 2 * first);
            any |= cells[token];
            seeing += cells[token] != 0;
        }
        if (any == 0) {
            continue;
        }
        const char *keys = problem.keys + part.key_head * problem.key_head + first * problem.key_cell;
        const char *values = problem.values + part.key_head * problem.value_head + first * problem.value_cell;
        if (seeing * part.heads >= MANY) {
            const float *queries[ROWS];
            float *scores[ROWS];
            for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
                if ((any >> (stripe * LANES) & 0xFFFF) == 0) {
                    continue;
                }
                turn_keys<SIZE>(keys + stripe * LANES * problem.key_cell, problem.key_cell, scratch.keys[stripe]);
                int64_t count = 0;
                for (int64_t row = 0; row < rows; row++) {
                    if ((cells[row / part.heads] >> (stripe * LANES) & 0xFFFF) != 0) {
                        queries[count] = scratch.queries[row];
                        scores[count++] = scratch.weights[row] + stripe * LANES;
                    }
                }
                int64_t row = 0;
                for (; row + 6 <= count; row += 6) {
                    scores_of_turned<SIZE, 6>(queries + row, scratch.keys[stripe], scores + row);
                }
                for (; row + 2 <= count; row += 2) {
                    scores_of_turned<SIZE, 2>(queries + row, scratch.keys[stripe], scores + row);
                }
                if (row < count) {
                    scores_of_turned<SIZE, 1>(queries + row, scratch.keys[stripe], scores + row);
                }
            }
        } else {
            for (int64_t row = 0; row < rows; row++) {
                for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
                    if ((cells[row / part.heads] >> (stripe * LANES) & 0xFFFF) != 0) {
                        scores_of<SIZE>(scratch.queries[row], keys + stripe * LANES * problem.key_cell,
                                        problem.key_cell, scratch.weights[row] + stripe * LANES);
                    }
                }
            }
        }
        const bool widened = seeing > 1;
        if (widened) {
            for (uint64_t left = any; left != 0; left &= left - 1) {
                const int64_t cell = __builtin_ctzll(left);
                for (int64_t at = 0; at < SIZE; at += LANES) {
                    _mm512_store_ps(scratch.values[cell] + at, widen(values + cell * problem.value_cell + 2 * at));
                }
            }
        }
        for (int64_t token = 0; token < part.tokens; token++) {
            if (cells[token] == 0) {
                continue;
            }
            const int64_t row = token * part.heads;
            for (int64_t head = 0; head < part.heads; head++) {
                weigh(scratch, row + head, masks + token * problem.mask_token + 2 * first, cells[token]);
            }
            if (widened) {
                add_values(scratch, row, part.heads, scratch.values[0], SIZE, cells[token]);
            } else {
                add_values(scratch, row, part.heads, values, problem.value_cell, cells[token]);
            }
        }
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
    const Cut by = cut(problem, threads);
    return by.heads_parts * by.token_parts * problem.key_heads;
}

size_t scratch(int64_t size) { return find(size)->scratch; }

void compute(const Problem &problem, int64_t threads, int64_t part, void *scratch) {
    const Cut by = cut(problem, threads);
    const int64_t group = problem.heads / problem.key_heads;
    const int64_t key_head = part / (by.heads_parts * by.token_parts);
    const int64_t first_head = part / by.token_parts % by.heads_parts * by.heads;
    const int64_t first_token = part % by.token_parts * by.tokens;
    const Part one = {
        key_head,
        key_head * group + first_head,
        std::min(by.heads, group - first_head),
        first_token,
        std::min(by.tokens, problem.tokens - first_token),
    };
    find(problem.size)->compute(problem, one, scratch);
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
