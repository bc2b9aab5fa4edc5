// The header in two files of one program, and twice in each of them.
// clang-format off
#include "dicast.hpp"
#include "dicast.hpp"
// clang-format on

dicast::Request make();

int main() {
    const dicast::Prompt prompt(dicast::Profile::builtin(), make());
    return prompt.messages().empty() ? 1 : 0;
}
