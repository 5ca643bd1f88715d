// An 8-bit RGB image: rows from the top, pixels from the left, red, green, blue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

struct Image {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> pixels;

    Image(int width_, int height_)
        : width(width_), height(height_), pixels(std::size_t(3) * std::size_t(width_) * std::size_t(height_)) {}

    std::uint8_t *row(int y) { return pixels.data() + std::size_t(3) * std::size_t(width) * std::size_t(y); }
    const std::uint8_t *row(int y) const { return pixels.data() + std::size_t(3) * std::size_t(width) * std::size_t(y); }
};

// A PNG or JPEG file of 8 bits a channel, with the grey levels that Python sees. Throws std::runtime_error.
Image read_image(const std::filesystem::path &file);

// Bilinear, antialiased when shrinking: Pillow's resize(..., BILINEAR), grey level for grey level.
Image resized(const Image &image, int width, int height);

// The part of an image of this size whose upper left corner is at (left, top).
Image cropped(const Image &image, int left, int top, int width, int height);
