// What of an unpacked bundle is needed to judge photographs by its complete network; docs/bundle.md is the contract.
using System.Globalization;
using System.Text.Json;

sealed class Bundle
{
    const int SchemaVersion = 1;
    const int SmallestPx = 16;
    const double Rounding = 1e-5;

    public string Network { get; }
    public int CropHeight { get; }
    public int CropWidth { get; }
    readonly int resizeHeight, resizeWidth;
    readonly double? review, reject;

    /// <summary>A folder made by unpacking a bundle, and the category of the photographs.</summary>
    public Bundle(string folder, string category)
    {
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "manifest.json")));
        var manifest = document.RootElement;
        int version = manifest.GetProperty("schema_version").GetInt32();
        if (version != SchemaVersion) throw new InvalidDataException($"bundle must have schema version 1, got {version}");
        if (!manifest.GetProperty("categories").TryGetProperty(category, out _))
            throw new InvalidDataException($"category must be one of the bundle's, got {category}");
        var preprocessing = manifest.GetProperty("preprocessing");
        bool tiled = preprocessing.GetProperty("tiles").EnumerateArray().Any(count => count.GetInt32() != 1);
        bool regions = manifest.GetProperty("members").EnumerateObject().Any(member => member.Name.StartsWith("run/roi/"));
        if (preprocessing.GetProperty("fit").GetString() != "stretch" || tiled || regions)
            throw new InvalidDataException("this program judges photographs as a whole, without tiles, letterbox and regions");
        string key = manifest.GetProperty("mode").GetString() == "per_category" ? category : "";
        var complete = manifest.GetProperty("networks").GetProperty(key).GetProperty("files").GetProperty("complete");
        if (!complete.TryGetProperty("fp32", out var parts))
            throw new InvalidDataException("bundle must hold a complete network, got none");
        Network = Path.Combine(folder, parts[0].GetString()!);
        resizeHeight = preprocessing.GetProperty("resize_px")[0].GetInt32();
        resizeWidth = preprocessing.GetProperty("resize_px")[1].GetInt32();
        CropHeight = preprocessing.GetProperty("crop_px")[0].GetInt32();
        CropWidth = preprocessing.GetProperty("crop_px")[1].GetInt32();
        (review, reject) = ReadLimits(Path.Combine(folder, "run", "limits.toml"), category);
    }

    /// <summary>What the network sees of an RGB photograph.</summary>
    public byte[] View(byte[] pixels, int height, int width)
    {
        if (height < SmallestPx || width < SmallestPx)
            throw new InvalidDataException("photographs must be at least 16 px high and wide");
        byte[] whole = Resize.To(pixels, height, width, resizeHeight, resizeWidth);
        // torchvision's rounding: halves to even.
        int top = (int)Math.Round((resizeHeight - CropHeight) / 2.0, MidpointRounding.ToEven);
        int left = (int)Math.Round((resizeWidth - CropWidth) / 2.0, MidpointRounding.ToEven);
        var view = new byte[CropHeight * CropWidth * 3];
        for (int y = 0; y < CropHeight; ++y)
            Array.Copy(whole, ((top + y) * resizeWidth + left) * 3, view, y * CropWidth * 3, CropWidth * 3);
        return view;
    }

    /// <summary>`reject`, `review` or `pass`; nothing without limits.</summary>
    public string Verdict(double score)
    {
        if (review is null && reject is null) return "";
        if (reject is double upper && IsAbove(score, upper)) return "reject";
        return review is double lower && IsAbove(score, lower) ? "review" : "pass";
    }

    // A limit is the score of a photograph, which another runtime computes with another last digit.
    static bool IsAbove(double score, double limit) => score > limit + Rounding * Math.Abs(limit);

    // The table of a category, as muad writes it: a line a limit.
    static (double? Review, double? Reject) ReadLimits(string file, string category)
    {
        double? review = null, reject = null;
        bool inside = false;
        foreach (string line in File.Exists(file) ? File.ReadAllLines(file) : Array.Empty<string>())
        {
            if (line.StartsWith('[')) inside = line == $"[categories.{category}]" || line == $"[categories.\"{category}\"]";
            else if (inside && line.StartsWith("review = ")) review = Number(line[9..]);
            else if (inside && line.StartsWith("reject = ")) reject = Number(line[9..]);
        }
        return (review, reject);
    }

    static double Number(string text) => double.Parse(text.Split('#')[0], CultureInfo.InvariantCulture);
}
