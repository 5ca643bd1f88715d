// PNG by libpng, JPEG by libjpeg-turbo. What Python would turn, flatten or scale first is refused instead of read
// otherwise: photographs of more than 8 bits, transparent ones, and those whose EXIF asks to be turned.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include <jpeglib.h>

#include "image.hpp"

namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE *)>;

[[noreturn]] void refuse(const std::filesystem::path &file, const std::string &got) {
    throw std::runtime_error("image " + file.string() + " must be 8-bit PNG or JPEG, whole and upright, got " + got);
}

struct Faults {
    jpeg_error_mgr manager;
    std::jmp_buf place;
};

[[noreturn]] void leave(j_common_ptr info) { std::longjmp(reinterpret_cast<Faults *>(info->err)->place, 1); }

// A warning is damage too: Python refuses such a file.
void warned(j_common_ptr info, int severity) {
    if (severity < 0) leave(info);
}

// EXIF tag 0x0112: how the photograph is to be turned; 1 for not at all.
int orientation(const jpeg_marker_struct *marker) {
    for (; marker != nullptr; marker = marker->next) {
        const auto *data = marker->data;
        const std::size_t length = marker->data_length;
        if (length < 14 || std::memcmp(data, "Exif\0\0", 6) != 0) continue;
        const auto *tiff = data + 6;
        const std::size_t size = length - 6;
        const bool little = tiff[0] == 'I';
        const auto number = [&](std::size_t at, int bytes) {
            std::size_t value = 0;
            for (int place = 0; place < bytes; ++place) {
                const std::size_t from = at + std::size_t(little ? bytes - 1 - place : place);
                value = value << 8 | (from < size ? tiff[from] : 0);
            }
            return value;
        };
        const std::size_t directory = number(4, 4);
        const std::size_t count = number(directory, 2);
        for (std::size_t entry = 0; entry < count && directory + 14 + 12 * entry <= size; ++entry) {
            const std::size_t at = directory + 2 + 12 * entry;
            if (number(at, 2) == 0x0112) return int(number(at + 8, 2));
        }
    }
    return 1;
}

Image read_jpeg(const std::filesystem::path &name, std::FILE *file) {
    jpeg_decompress_struct info{};
    Faults faults{};
    Image image(0, 0);
    std::string got;
    info.err = jpeg_std_error(&faults.manager);
    faults.manager.error_exit = leave;
    faults.manager.emit_message = warned;
    faults.manager.output_message = [](j_common_ptr) {};
    if (setjmp(faults.place) != 0) {
        jpeg_destroy_decompress(&info);
        refuse(name, "a damaged file");
    }
    jpeg_create_decompress(&info);
    jpeg_stdio_src(&info, file);
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
    if (const int turned = orientation(info.marker_list); turned > 1) got = "EXIF orientation " + std::to_string(turned);
    if (info.num_components == 4) got = "four channels";
    if (got.empty()) {
        info.out_color_space = JCS_RGB;
        jpeg_start_decompress(&info);
        image = Image(int(info.output_width), int(info.output_height));
        while (info.output_scanline < info.output_height) {
            JSAMPROW row = image.row(int(info.output_scanline));
            jpeg_read_scanlines(&info, &row, 1);
        }
        jpeg_finish_decompress(&info);
    }
    jpeg_destroy_decompress(&info);
    if (!got.empty()) refuse(name, got);
    return image;
}

[[noreturn]] void leave(png_structp png, png_const_charp) { png_longjmp(png, 1); }

Image read_png(const std::filesystem::path &name, std::FILE *file) {
    Image image(0, 0);
    std::string got;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, leave, [](png_structp, png_const_charp) {});
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png)) != 0) {
        png_destroy_read_struct(&png, &info, nullptr);
        refuse(name, "a damaged file");
    }
    png_init_io(png, file);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
    png_read_info(png, info);
    if (png_get_bit_depth(png, info) == 16) got = "16 bits a channel";
    if ((png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png, info, PNG_INFO_tRNS) != 0) {
        got = "transparency";
    }
    if (got.empty()) {  // no gamma: levels are taken as they are stored
        png_set_expand(png);
        png_set_gray_to_rgb(png);
        const int passes = png_set_interlace_handling(png);
        png_read_update_info(png, info);
        image = Image(int(png_get_image_width(png, info)), int(png_get_image_height(png, info)));
        for (int pass = 0; pass < passes; ++pass) {
            for (int y = 0; y < image.height; ++y) png_read_row(png, image.row(y), nullptr);
        }
        png_read_end(png, info);
    }
    png_destroy_read_struct(&png, &info, nullptr);
    if (!got.empty()) refuse(name, got);
    return image;
}

}  // namespace

Image read_image(const std::filesystem::path &name) {
    const File file(std::fopen(name.string().c_str(), "rb"), &std::fclose);
    unsigned char start[8] = {};
    if (!file || std::fread(start, 1, sizeof start, file.get()) != sizeof start) refuse(name, "no readable file");
    std::rewind(file.get());
    if (png_sig_cmp(start, 0, sizeof start) == 0) return read_png(name, file.get());
    if (start[0] != 0xFF || start[1] != 0xD8) refuse(name, "another format");
    return read_jpeg(name, file.get());
}
