// What of an unpacked bundle is needed to judge photographs by its complete network; docs/bundle.md is the contract.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "image.hpp"

struct Limits {
    std::optional<double> review;
    std::optional<double> reject;
};

struct Bundle {
    std::filesystem::path network;  // complete.onnx of the category
    int resize_height = 0;
    int resize_width = 0;
    int crop_height = 0;
    int crop_width = 0;
    Limits limits;

    // A folder made by `unzip bolts.muad -d FOLDER`. Throws std::runtime_error for what this program cannot do.
    Bundle(const std::filesystem::path &folder, const std::string &category);

    // What the network sees of a photograph.
    Image view(const Image &photograph) const;

    // `reject`, `review` or `pass`; nothing without limits.
    std::string verdict(double score) const;
};
