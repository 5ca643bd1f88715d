// Pillow's bilinear resampling in whole numbers: a triangle as wide as a source pixel, or as the shrinking asks for;
// weights of 22 binary digits; first along rows, rounded to 8 bits, then along columns.
#include <algorithm>
#include <cmath>

#include "image.hpp"

namespace {

constexpr int digits = 32 - 8 - 2;

struct Taps {
    int first = 0;
    std::vector<int> weights;
};

std::vector<Taps> taps_of(int from, int to) {
    const double scale = double(from) / to;
    const double support = std::max(scale, 1.0);
    std::vector<Taps> all(static_cast<std::size_t>(to));
    for (int place = 0; place < to; ++place) {
        const double centre = (place + 0.5) * scale;
        const int first = std::max(int(centre - support + 0.5), 0);
        const int last = std::min(int(centre + support + 0.5), from);
        std::vector<double> weights;
        double total = 0;
        for (int source = first; source < last; ++source) {
            const double distance = std::abs((source - centre + 0.5) / support);
            weights.push_back(distance < 1 ? 1 - distance : 0);
            total += weights.back();
        }
        auto &taps = all[static_cast<std::size_t>(place)];
        taps.first = first;
        for (const double weight : weights) {
            taps.weights.push_back(int(std::floor(0.5 + weight / total * (1 << digits))));
        }
    }
    return all;
}

std::uint8_t level(int sum) { return std::uint8_t(std::clamp(sum >> digits, 0, 255)); }

Image along_rows(const Image &image, int width) {
    Image result(width, image.height);
    const auto all = taps_of(image.width, width);
    for (int y = 0; y < image.height; ++y) {
        for (int x = 0; x < width; ++x) {
            const auto &[first, weights] = all[static_cast<std::size_t>(x)];
            for (int channel = 0; channel < 3; ++channel) {
                int sum = 1 << (digits - 1);
                for (std::size_t tap = 0; tap < weights.size(); ++tap) {
                    sum += image.row(y)[3 * (first + int(tap)) + channel] * weights[tap];
                }
                result.row(y)[3 * x + channel] = level(sum);
            }
        }
    }
    return result;
}

Image along_columns(const Image &image, int height) {
    Image result(image.width, height);
    const auto all = taps_of(image.height, height);
    for (int y = 0; y < height; ++y) {
        const auto &[first, weights] = all[static_cast<std::size_t>(y)];
        for (int at = 0; at < 3 * image.width; ++at) {
            int sum = 1 << (digits - 1);
            for (std::size_t tap = 0; tap < weights.size(); ++tap) {
                sum += image.row(first + int(tap))[at] * weights[tap];
            }
            result.row(y)[at] = level(sum);
        }
    }
    return result;
}

}  // namespace

Image resized(const Image &image, int width, int height) {
    Image result = width == image.width ? image : along_rows(image, width);
    return height == result.height ? result : along_columns(result, height);
}

Image cropped(const Image &image, int left, int top, int width, int height) {
    Image result(width, height);
    for (int y = 0; y < height; ++y) {
        std::copy_n(image.row(top + y) + 3 * left, 3 * width, result.row(y));
    }
    return result;
}
