# Included by llama.cpp's project when it is built in this repository (.cargo/config.toml). Most of its library runs once
# for each model or never: with less optimisation it compiles in three quarters of the time. What runs for each step
# stays as it is, as does all of ggml.
cmake_minimum_required(VERSION 3.19)

function(dicast_compile_llama)
  get_target_property(sources llama SOURCES)
  list(FILTER sources INCLUDE REGEX "^[^/]*[.]cpp$")
  list(FILTER sources EXCLUDE REGEX "llama-(batch|context|graph|kv-cache|vocab)[.]cpp$")
  get_target_property(folder llama SOURCE_DIR)
  list(TRANSFORM sources PREPEND "${folder}/")
  set_source_files_properties(${sources} TARGET_DIRECTORY llama PROPERTIES COMPILE_OPTIONS "-O1")
endfunction()

if(PROJECT_NAME STREQUAL "llama.cpp" AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  cmake_language(DEFER CALL dicast_compile_llama)
endif()
