#include "bundle.hpp"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace {

constexpr int schema_version = 1;
constexpr int smallest_px = 16;

std::ifstream opened(const std::filesystem::path &file) {
    std::ifstream stream(file);
    if (!stream) throw std::runtime_error("bundle must hold " + file.string() + ". Unpack it: unzip bolts.muad -d FOLDER");
    return stream;
}

// The table of a category in `run/limits.toml`, as muad writes it: a line a limit.
Limits read_limits(const std::filesystem::path &file, const std::string &category) {
    Limits limits;
    std::ifstream stream(file);
    bool inside = false;
    for (std::string line; std::getline(stream, line);) {
        if (line.rfind('[', 0) == 0) {
            inside = line == "[categories." + category + "]" || line == "[categories.\"" + category + "\"]";
        } else if (inside && line.rfind("review = ", 0) == 0) {
            limits.review = std::stod(line.substr(9));
        } else if (inside && line.rfind("reject = ", 0) == 0) {
            limits.reject = std::stod(line.substr(9));
        }
    }
    return limits;
}

// A limit is the score of a photograph, which another runtime computes with another last digit.
bool is_above(double score, double limit) { return score > limit + 1e-5 * std::abs(limit); }

// torchvision's rounding: halves to even.
int margin(int whole, int part) { return int(std::nearbyint((whole - part) / 2.0)); }

}  // namespace

Bundle::Bundle(const std::filesystem::path &folder, const std::string &category) {
    const auto manifest = nlohmann::json::parse(opened(folder / "manifest.json"));
    if (manifest.at("schema_version") != schema_version) {
        throw std::runtime_error("bundle must have schema version 1, got " + manifest.at("schema_version").dump());
    }
    if (!manifest.at("categories").contains(category)) {
        throw std::runtime_error("category must be one of " + manifest.at("categories").dump() + ", got " + category);
    }
    const auto &preprocessing = manifest.at("preprocessing");
    bool has_regions = false;
    for (const auto &[name, member] : manifest.at("members").items()) has_regions |= name.rfind("run/roi/", 0) == 0;
    if (preprocessing.at("fit") != "stretch" || preprocessing.at("tiles") != nlohmann::json{1, 1} || has_regions) {
        throw std::runtime_error("this program judges photographs as a whole, without tiles, letterbox and regions");
    }
    const auto &network = manifest.at("networks").at(manifest.at("mode") == "per_category" ? category : "");
    const auto &complete = network.at("files").at("complete");
    if (!complete.contains("fp32")) throw std::runtime_error("bundle must hold a complete network, got none");
    this->network = folder / complete.at("fp32").at(0).get<std::string>();
    resize_height = preprocessing.at("resize_px").at(0);
    resize_width = preprocessing.at("resize_px").at(1);
    crop_height = preprocessing.at("crop_px").at(0);
    crop_width = preprocessing.at("crop_px").at(1);
    limits = read_limits(folder / "run" / "limits.toml", category);
}

Image Bundle::view(const Image &photograph) const {
    if (photograph.width < smallest_px || photograph.height < smallest_px) {
        throw std::runtime_error("photographs must be at least 16 px high and wide");
    }
    const int left = margin(resize_width, crop_width);
    const int top = margin(resize_height, crop_height);
    return cropped(resized(photograph, resize_width, resize_height), left, top, crop_width, crop_height);
}

std::string Bundle::verdict(double score) const {
    if (!limits.review && !limits.reject) return "";
    if (limits.reject && is_above(score, *limits.reject)) return "reject";
    return limits.review && is_above(score, *limits.review) ? "review" : "pass";
}
