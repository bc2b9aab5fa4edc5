// The header in two files of one program, in each of them twice.
// clang-format off
#include "dicast.hpp"
#include "dicast.hpp"
// clang-format on

dicast::Request make();

int main() {
    const dicast::Prompt prompt(dicast::Profile::builtin(), make());
    return prompt.messages().empty() ? 1 : 0;
}
