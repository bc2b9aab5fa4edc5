#include "engine_folder.h"

#include "check.h"
#include "json.h"

#include <fstream>
#include <iterator>
#include <string>

namespace dicast::standin
{

namespace
{

// make_engine.sh writes this first in each rank's file, so that a real engine is never taken for one of these.
constexpr char const* kLabel = "dicast trtllm stand-in engine";

std::string contents(std::filesystem::path const& file, char const* what)
{
    std::ifstream in{file, std::ios::binary};
    STANDIN_CHECK(in, std::string{"cannot open the "} + what + ": " + file.string());
    return {std::istreambuf_iterator<char>{in}, {}};
}

std::int32_t required(Json const& object, char const* name)
{
    auto const value = object.at(name).integer();
    STANDIN_CHECK(value && *value > 0, std::string{"config.json has no "} + name);
    return static_cast<std::int32_t>(*value);
}

} // namespace

EngineFolder EngineFolder::read(std::filesystem::path const& path)
{
    EngineFolder folder;
    folder.path = path;
    Json const config = Json::parse(contents(path / "config.json", "engine's configuration"));
    Json const& model = config.at("pretrained_config");
    Json const& build = config.at("build_config");
    Json const& mapping = model.at("mapping");
    folder.worldSize = static_cast<std::int32_t>(
        mapping.at("tp_size").integer().value_or(1) * mapping.at("pp_size").integer().value_or(1));
    folder.vocabularySize = required(model, "vocab_size");
    folder.logitsType = model.at("logits_dtype").string().value_or("float32");
    folder.maxBatchSize = required(build, "max_batch_size");
    folder.maxNumTokens = required(build, "max_num_tokens");
    folder.maxInputLength = required(build, "max_input_len");
    folder.maxSequenceLength = required(build, "max_seq_len");
    Json const& plugins = build.at("plugin_config");
    folder.tokensPerBlock = static_cast<std::int32_t>(plugins.at("tokens_per_block").integer().value_or(32));
    folder.pagedContext = plugins.at("use_paged_context_fmha").boolean().value_or(false);
    for (std::int32_t rank = 0; rank < folder.worldSize; ++rank)
    {
        auto const file = path / ("rank" + std::to_string(rank) + ".engine");
        STANDIN_CHECK(contents(file, "engine file").rfind(kLabel, 0) == 0,
            "not an engine of the stand-in: " + file.string());
    }
    folder.script = Script::read(path / "standin.script");
    return folder;
}

} // namespace dicast::standin
