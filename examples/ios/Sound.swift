import Foundation

/// A sound, as a microphone or a decoder gives it.
public struct Sound: Sendable {
    private let samples: [Float]
    private let rate: Int
    private let channels: Int

    /// Steps from 0 to 1 of 16-bit samples.
    private static let steps = 32768.0

    /// - Parameters:
    ///   - samples: from -1 to 1, as `AVAudioPCMBuffer.floatChannelData` has them; of several
    ///     channels those of one moment side by side.
    ///   - rate: moments a second, 1,000 to 768,000.
    /// - Throws: `ClassifierError` if there are no samples, or some that are no numbers or beyond.
    public init(samples: [Float], rate: Int, channels: Int = 1) throws {
        guard 1_000...768_000 ~= rate, 1...16 ~= channels, samples.count % channels == 0 else {
            throw ClassifierError(
                "`rate`, `channels`: 1,000 to 768,000 and 1 to 16, with as many samples of each "
                    + "channel. Received: \(rate), \(channels), \(samples.count) samples."
            )
        }
        guard !samples.isEmpty, samples.allSatisfy({ abs($0) <= 2 }) else {  // not of NaN
            throw ClassifierError(
                "`samples`: at least one, all from -1 to 1. Received: \(samples.count), some of "
                    + "them no numbers or beyond. Leave a sound without samples out."
            )
        }
        self.samples = samples
        self.rate = rate
        self.channels = channels
    }

    /// Samples of 16 bits.
    public init(samples: [Int16], rate: Int, channels: Int = 1) throws {
        let values = samples.map { Float($0) / Float(Sound.steps) }
        try self.init(samples: values, rate: rate, channels: channels)
    }

    /// Gives what a model takes, as Python does: channels averaged, resampled, in steps of 16 bits,
    /// the beginning alone.
    ///
    /// A silent sound is there: its samples are the smallest step, since all zeros are the sign of
    /// an absent one.
    ///
    /// - Parameters:
    ///   - newRate: samples a second that the model takes.
    ///   - count: number of samples that it takes.
    /// - Returns: `count` samples, zeros behind the sound's end.
    public func tensor(rate newRate: Int, count: Int) -> [Float] {
        let most = (Double(count + 1) / Double(newRate) * Double(rate)).rounded(.up)
        let number = Int(min(Double(samples.count / channels), most))
        let mono: [Double] = (0..<number).map { place in
            let moment = samples[(place * channels)..<((place + 1) * channels)]
            return moment.reduce(0.0) { $0 + Double($1) } / Double(channels)
        }
        let made = rate == newRate ? mono : Sound.resampled(mono, from: rate, to: newRate)
        let steps = made.prefix(count).map { value -> Double in
            let step = (value * Sound.steps).rounded(.toNearestOrEven)
            return min(max(step, -Sound.steps), Sound.steps - 1)
        }
        let silence: Double = steps.allSatisfy { $0 == 0 } ? 1 : 0
        let values = steps.map { Float(($0 + silence) / Sound.steps) }
        return values + [Float](repeating: 0, count: count - values.count)
    }

    /// Cuts off a sound's spectrum, or fills it up: exact below half of a rate.
    private static func resampled(_ values: [Double], from rate: Int, to newRate: Int) -> [Double] {
        var (common, rest) = (rate, newRate)
        while rest != 0 { (common, rest) = (rest, common % rest) }
        let whole = (values.count - 1) / (rate / common) + 1  // so that rates are exact
        let oldCount = whole * (rate / common)
        let count = whole * (newRate / common)
        let padded = values + [Double](repeating: 0, count: oldCount - values.count)
        let old = transform(padded, [Double](repeating: 0, count: oldCount))
        var re = [Double](repeating: 0, count: count)
        var im = re
        for k in 0...(min(oldCount, count) / 2) {
            // Conjugated, so that the transform is the inverse one.
            re[k] = old.re[k]
            if k > 0 && 2 * k < count {
                im[k] = -old.im[k]
                re[count - k] = old.re[k]
                im[count - k] = old.im[k]
            }
        }
        let scale = Double(newRate) / Double(rate)
        let length = Double(values.count) * Double(newRate) / Double(rate)
        let made = max(1, Int(length.rounded(.toNearestOrEven)))
        return transform(re, im).re.prefix(made).map { $0 / Double(count) * scale }
    }

    /// Fourier transform of any size (Bluestein: A linear filtering approach, 1970).
    private static func transform(
        _ re: [Double], _ im: [Double]
    ) -> (re: [Double], im: [Double]) {
        let count = re.count
        var size = 1
        while size < 2 * count - 1 { size *= 2 }
        let angles = (0..<count).map { (place: Int) -> Double in
            let turn: Int = place * place % (2 * count)
            return Double.pi * Double(turn) / Double(count)
        }
        let (cosines, sines) = (angles.map { cos($0) }, angles.map { sin($0) })
        var re1 = [Double](repeating: 0, count: size)
        var (im1, re2, im2) = (re1, re1, re1)
        for i in 0..<count {
            re1[i] = re[i] * cosines[i] + im[i] * sines[i]
            im1[i] = im[i] * cosines[i] - re[i] * sines[i]
            for place in [i, (size - i) % size] {
                re2[place] = cosines[i]
                im2[place] = sines[i]
            }
        }
        transformPower(&re1, &im1)
        transformPower(&re2, &im2)
        for i in 0..<size {
            let product = re1[i] * re2[i] - im1[i] * im2[i]
            im1[i] = -(re1[i] * im2[i] + im1[i] * re2[i])  // conjugated: back again
            re1[i] = product
        }
        transformPower(&re1, &im1)
        let all = 0..<count
        return (
            all.map { (re1[$0] * cosines[$0] - im1[$0] * sines[$0]) / Double(size) },
            all.map { (-im1[$0] * cosines[$0] - re1[$0] * sines[$0]) / Double(size) }
        )
    }

    /// The same of a size that is a power of two, in place (Cooley and Tukey).
    private static func transformPower(_ re: inout [Double], _ im: inout [Double]) {
        let count = re.count
        var reversed = 0
        for i in stride(from: 1, to: count, by: 1) {
            var bit = count / 2
            while reversed & bit != 0 {
                reversed -= bit
                bit /= 2
            }
            reversed += bit
            if i < reversed {
                re.swapAt(i, reversed)
                im.swapAt(i, reversed)
            }
        }
        let angles = (0..<(count / 2)).map { (place: Int) -> Double in
            2 * Double.pi * Double(place) / Double(count)
        }
        let (cosines, sines) = (angles.map { cos($0) }, angles.map { sin($0) })
        var half = 1
        while half < count {
            for start in stride(from: 0, to: count, by: 2 * half) {
                for i in 0..<half {
                    let turn = i * (count / 2 / half)
                    let (a, b) = (start + i, start + i + half)
                    let x = re[b] * cosines[turn] + im[b] * sines[turn]
                    let y = im[b] * cosines[turn] - re[b] * sines[turn]
                    re[b] = re[a] - x
                    im[b] = im[a] - y
                    re[a] += x
                    im[a] += y
                }
            }
            half *= 2
        }
    }
}
