// The header in two files of one program, in each of them twice.
#include "dicast.hpp"
#include "dicast.hpp"

dicast::Request make();

int main() { return dicast::Prompt(dicast::Profile::builtin(), make()).messages().empty() ? 1 : 0; }
