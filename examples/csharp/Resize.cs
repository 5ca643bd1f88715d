// Pillow's bilinear resampling in whole numbers: a triangle as wide as a source pixel, or as the shrinking asks for;
// weights of 22 binary digits; first along rows, rounded to 8 bits, then along columns.
static class Resize
{
    const int Digits = 32 - 8 - 2;

    /// <summary>An RGB image of height x width in another size.</summary>
    public static byte[] To(byte[] pixels, int height, int width, int newHeight, int newWidth)
    {
        byte[] rows = newWidth == width ? pixels : Along(pixels, height, width, newWidth, 3, 3 * width, 3 * newWidth);
        if (newHeight == height) return rows;
        return Along(rows, newWidth, height, newHeight, 3 * newWidth, 3, 3);
    }

    // `lines` independent lines of `from` pixels, `step` bytes apart within a line; becomes `to` pixels each.
    static byte[] Along(byte[] pixels, int lines, int from, int to, int step, int line, int newLine)
    {
        var result = new byte[lines * to * 3];
        for (int place = 0; place < to; ++place)
        {
            var (first, weights) = Taps(from, to, place);
            for (int number = 0; number < lines; ++number)
            {
                for (int channel = 0; channel < 3; ++channel)
                {
                    int sum = 1 << (Digits - 1);
                    for (int tap = 0; tap < weights.Length; ++tap)
                    {
                        sum += pixels[number * line + (first + tap) * step + channel] * weights[tap];
                    }
                    result[number * newLine + place * step + channel] = (byte)Math.Clamp(sum >> Digits, 0, 255);
                }
            }
        }
        return result;
    }

    static (int First, int[] Weights) Taps(int from, int to, int place)
    {
        double scale = (double)from / to, support = Math.Max(scale, 1), centre = (place + 0.5) * scale;
        int first = Math.Max((int)(centre - support + 0.5), 0), last = Math.Min((int)(centre + support + 0.5), from);
        var weights = new double[last - first];
        for (int tap = 0; tap < weights.Length; ++tap)
        {
            weights[tap] = Math.Max(0, 1 - Math.Abs((first + tap - centre + 0.5) / support));
        }
        double total = weights.Sum();
        return (first, weights.Select(weight => (int)Math.Floor(0.5 + weight / total * (1 << Digits))).ToArray());
    }
}
