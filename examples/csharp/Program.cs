// Judges the photographs of a folder by the complete network of an unpacked bundle:
//
//     unzip bolts.muad -d bolts
//     dotnet run --project examples/csharp -- bolts photographs screw > scores.csv
//
// A line for each photograph: its name, its score, its verdict. Exit code 2 and one line where that cannot be.
// Photographs are PNG or JPEG of 8 bits a channel, opaque and upright.
using System.Globalization;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using SkiaSharp;

if (args.Length != 3)
{
    Console.Error.WriteLine("usage: judge UNPACKED_BUNDLE PHOTOGRAPHS CATEGORY");
    return 2;
}
try
{
    var bundle = new Bundle(args[0], args[2]);
    using var session = new InferenceSession(bundle.Network);
    Console.WriteLine("path,score,verdict");
    foreach (string file in Directory.GetFiles(args[1]).Order(StringComparer.Ordinal))
    {
        var (pixels, height, width) = Read(file);
        int[] shape = { 1, bundle.CropHeight, bundle.CropWidth, 3 };
        var input = new DenseTensor<byte>(bundle.View(pixels, height, width), shape);
        var wanted = new[] { "score" };  // "map" is what to draw
        using var outputs = session.Run(new[] { NamedOnnxValue.CreateFromTensor("pixels", input) }, wanted);
        float score = outputs.First().AsTensor<float>().ToArray()[0];
        if (!float.IsFinite(score)) throw new InvalidDataException($"score must be finite, got {score} of {file}");
        string number = score.ToString("G9", CultureInfo.InvariantCulture);
        Console.WriteLine($"{Path.GetFileName(file)},{number},{bundle.Verdict(score)}");
    }
    return 0;
}
catch (Exception error) when (error is IOException or InvalidDataException or OnnxRuntimeException or FormatException
                                  or KeyNotFoundException or System.Text.Json.JsonException)
{
    Console.Error.WriteLine($"error: {error.Message.Split('\n')[0]}");
    return 2;
}

static (byte[] Pixels, int Height, int Width) Read(string file)
{
    using var codec = SKCodec.Create(file) ?? throw new InvalidDataException($"image {file} must be PNG or JPEG");
    if (codec.EncodedOrigin != SKEncodedOrigin.TopLeft || codec.Info.AlphaType != SKAlphaType.Opaque)
        throw new InvalidDataException($"image {file} must be opaque and upright");
    // Without a colour space, levels are taken as they are stored.
    var info = new SKImageInfo(codec.Info.Width, codec.Info.Height, SKColorType.Rgba8888, SKAlphaType.Unpremul, null);
    using var bitmap = new SKBitmap(info);
    if (codec.GetPixels(info, bitmap.GetPixels()) != SKCodecResult.Success)
        throw new InvalidDataException($"image {file} must be whole, got a damaged file");
    byte[] four = bitmap.Bytes;
    var pixels = new byte[info.Width * info.Height * 3];
    for (int place = 0; place < info.Width * info.Height; ++place)
        for (int channel = 0; channel < 3; ++channel) pixels[3 * place + channel] = four[4 * place + channel];
    return (pixels, info.Height, info.Width);
}
