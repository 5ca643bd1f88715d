// Judges the photographs of a folder by the complete network of an unpacked bundle:
//
//     unzip bolts.muad -d bolts
//     build/judge bolts photographs screw > scores.csv
//
// A line for each photograph: its name, its score, its verdict. Exit code 2 and one line where that cannot be.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <iostream>
#include <openvino/openvino.hpp>
#include <stdexcept>

#include "bundle.hpp"

namespace {

int judge(const std::filesystem::path &folder, const std::filesystem::path &photographs, const std::string &category) {
    const Bundle bundle(folder, category);
    ov::Core core;
    auto network = core.read_model(bundle.network.string());
    const ov::Shape shape{1, std::size_t(bundle.crop_height), std::size_t(bundle.crop_width), 3};
    network->reshape({{"pixels", ov::PartialShape(shape)}});
    auto request = core.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32),
                                      ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY))
                       .create_infer_request();

    std::vector<std::filesystem::path> files;
    for (const auto &entry : std::filesystem::directory_iterator(photographs)) {
        if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::cout << "path,score,verdict\n";
    std::cout.precision(9);
    for (const auto &file : files) {
        const Image view = bundle.view(read_image(file));
        ov::Tensor pixels(ov::element::u8, shape);
        std::memcpy(pixels.data<std::uint8_t>(), view.pixels.data(), view.pixels.size());
        request.set_tensor("pixels", pixels);
        request.infer();
        const float score = request.get_tensor("score").data<float>()[0];  // "map" is what to draw
        if (!std::isfinite(score)) throw std::runtime_error("score must be finite, got another of " + file.string());
        std::cout << file.filename().string() << ',' << score << ',' << bundle.verdict(score) << '\n';
    }
    return 0;
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 4) {
        std::cerr << "usage: judge UNPACKED_BUNDLE PHOTOGRAPHS CATEGORY\n";
        return 2;
    }
    try {
        return judge(arguments[1], arguments[2], arguments[3]);
    } catch (const std::exception &error) {
        const std::string all = error.what();
        std::cerr << "error: " << all.substr(0, all.find('\n')) << '\n';
        return 2;
    }
}
