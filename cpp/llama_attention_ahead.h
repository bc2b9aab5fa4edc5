// Which cells are computed, and memory that is asked for before they are.
#ifndef DICAST_LLAMA_ATTENTION_AHEAD_H
#define DICAST_LLAMA_ATTENTION_AHEAD_H

#include "llama_attention_parts.h"
#include "llama_wide.h"

namespace dicast::attention::DICAST_WIDE {

using namespace dicast::DICAST_WIDE;

// About what a block costs, in instructions: to turn its keys over, and then for each row; or, with the keys as they
// lie, for each cell that a row sees.
constexpr int64_t TURNING = 3000;
constexpr int64_t TURNED_ROW = 512;
constexpr int64_t CELL = 15;
constexpr uint16_t HIDDEN = 0xFC00;
constexpr uint64_t ALL = ~uint64_t{0};

// Asks for a line, for the first cache. Written as an instruction: GCC takes a function that only calls
// __builtin_prefetch for one that does nothing, and leaves it out.
inline void near(const char *at) { __asm__ volatile("prefetcht0 %0" : : "m"(*at)); }

// The cells of a block that a token sees.
DICAST_CODE inline uint64_t seen(const char *mask) { return different(mask, HIDDEN); }

// A block of cells: which of them each token of the part sees, and any of them.
struct Block {
    int64_t first;
    uint64_t cells[ROWS];
    uint64_t any;
    // Whether it is computed with its keys turned over.
    bool turned;
};

DICAST_CODE inline Block look(const Problem &problem, const Part &part, int64_t first) {
    Block block;
    block.first = first;
    block.any = 0;
    int64_t seeing = 0;
    int64_t all = 0;
    for (int64_t token = 0; token < part.group_tokens; token++) {
        const uint64_t cells = seen(problem.mask + (part.group_token + token) * problem.mask_token + 2 * first);
        seeing += cells != 0;
        all += __builtin_popcountll(cells);
        const int64_t own = part.group_token + token - part.first_token;
        if (own >= 0 && own < part.tokens) {
            block.cells[own] = cells;
            block.any |= cells;
        }
    }
    block.turned = TURNING + TURNED_ROW * seeing * part.group_heads < CELL * all * part.group_heads;
    return block;
}

// Asks for keys and values before they are used, some after each piece of other work, so that memory and arithmetic
// work at the same time. For the second cache: they are too many for the first.
class Ahead {
public:
    static constexpr bool ASKS = true;

    // Whether it does: if many tokens see the same cells, these are in the cache after the first, and few cells never
    // leave it.
    static bool pays(const Problem &problem) {
        constexpr int64_t FEW_TOKENS = 2 * ROWS;
        constexpr int64_t MANY_BYTES = int64_t{1} << 20;
        const int64_t cell = 2 * problem.key_heads * problem.size * static_cast<int64_t>(sizeof(uint16_t));
        return problem.tokens <= FEW_TOKENS && problem.cells * cell >= MANY_BYTES;
    }

    Ahead(const Problem &of_problem, const Part &of_part) : problem(of_problem), part(of_part) {}

    // The cells to ask for from now on, while `rows` rows are computed for each head of keys.
    void begin(const int32_t *list, int64_t many, int64_t rows) {
        std::copy(list, list + many, cells);
        count = 2 * many;
        asked = 0;
        // A row asks about six times for each head of keys; after four, nothing is left.
        constexpr int64_t TIMES = 4;
        pace = quotient(count, part.key_heads * rows * TIMES);
    }

    // The cells of a block that will be computed with it; others wait.
    void begin(const Block &next, int64_t rows) {
        uint64_t those = next.turned ? next.any : 0;
        for (int64_t token = 0; token < part.tokens; token++) {
            those |= next.cells[token] == ALL ? ALL : 0;
        }
        int32_t list[CELLS];
        int64_t many = 0;
        for (; those != 0; those &= those - 1) {
            list[many++] = static_cast<int32_t>(next.first + __builtin_ctzll(those));
        }
        begin(list, many, rows);
    }

    // After a piece of work.
    void ask() { up_to(std::min(count, asked + pace)); }

    void rest() { up_to(count); }

    // One more cell, at once.
    void one(int32_t cell) const {
        keys(cell);
        values(cell);
    }

private:
    void up_to(int64_t end) {
        for (; asked < end; asked++) {
            asked % 2 == 0 ? keys(cells[asked / 2]) : values(cells[asked / 2]);
        }
    }

    void keys(int32_t cell) const {
        heads(problem.keys + part.first_key_head * problem.key_head + cell * problem.key_cell, problem.key_head);
    }

    void values(int32_t cell) const {
        heads(problem.values + part.first_key_head * problem.value_head + cell * problem.value_cell,
              problem.value_head);
    }

    void heads(const char *from, size_t stride) const {
        for (int64_t head = 0; head < part.key_heads; head++, from += stride) {
            for (int64_t at = 0; at < 2 * problem.size; at += LINE) {
                __asm__ volatile("prefetcht1 %0" : : "m"(from[at]));
            }
        }
    }

    const Problem &problem;
    const Part &part;
    // Their keys and values one after the other: how many, those that were asked for, and how many at a time.
    int64_t count = 0;
    int64_t asked = 0;
    int64_t pace = 0;
    int32_t cells[CELLS];
};

struct NotAhead {
    static constexpr bool ASKS = false;
    NotAhead(const Problem & /*problem*/, const Part & /*part*/) {}
    void begin(const int32_t * /*list*/, int64_t /*many*/, int64_t /*rows*/) {}
    void begin(const Block & /*next*/, int64_t /*rows*/) {}
    void ask() {}
    void rest() {}
    void one(int32_t /*cell*/) const {}
};

}  // namespace dicast::attention::DICAST_WIDE

#endif
