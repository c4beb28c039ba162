/// A picture without transparency: red, green, blue and a byte that doesn't count, row by row.
public struct Pixels: Sendable {
    public let width: Int
    public let height: Int
    public let bytes: [UInt8]

    /// - Parameter bytes: 4 x width x height values.
    public init(width: Int, height: Int, bytes: [UInt8]) throws {
        guard width > 0, height > 0, bytes.count == 4 * width * height else {
            throw ClassifierError(
                "`bytes`: 4 for each of width x height pixels. "
                    + "Received: \(bytes.count) for \(width) x \(height)."
            )
        }
        self.width = width
        self.height = height
        self.bytes = bytes
    }

    /// Stretches the picture to the size that a model takes, the way the model was trained:
    /// bilinear with antialiasing.
    ///
    /// A picture that is all black becomes all ones, a difference that no eye sees: all zeros is
    /// the sign of an absent picture.
    ///
    /// - Returns: red, green, blue, red, ..., row by row, 0 to 255.
    public func resized(width newWidth: Int, height newHeight: Int) -> [UInt8] {
        let across = Pixels.shares(size: width, newSize: newWidth)
        let down = Pixels.shares(size: height, newSize: newHeight)
        var narrow = [UInt8](repeating: 0, count: 3 * newWidth * height)
        var result = [UInt8](repeating: 0, count: 3 * newWidth * newHeight)
        // Pointers: arrays would check the bounds of each of some million values.
        bytes.withUnsafeBufferPointer { old in
            narrow.withUnsafeMutableBufferPointer { new in
                for y in 0..<height {
                    for i in 0..<(3 * newWidth) {
                        let first = 4 * (y * width + across[i / 3].first) + i % 3
                        new[y * 3 * newWidth + i] = across[i / 3].sum(old, from: first, step: 4)
                    }
                }
            }
        }
        narrow.withUnsafeBufferPointer { old in
            for y in 0..<newHeight {
                for i in 0..<(3 * newWidth) {
                    let first = down[y].first * 3 * newWidth + i
                    result[y * 3 * newWidth + i] = down[y].sum(old, from: first, step: 3 * newWidth)
                }
            }
        }
        return result.contains { $0 > 0 } ? result : result.map { _ in 1 }
    }

    /// What old pixels, from the place `first` on, give to one new pixel; the weights add up to 1.
    private struct Shares {
        let first: Int
        let weights: [Float]

        func sum(_ values: UnsafeBufferPointer<UInt8>, from start: Int, step: Int) -> UInt8 {
            var total: Float = 0.5
            for i in 0..<weights.count { total += weights[i] * Float(values[start + i * step]) }
            return UInt8(min(total, 255))
        }
    }

    /// A triangle around each new pixel's centre, two old or new pixels wide, the wider of both.
    private static func shares(size: Int, newSize: Int) -> [Shares] {
        let scale = Double(size) / Double(newSize)
        let reach = max(scale, 1)
        return (0..<newSize).map { place in
            let center = (Double(place) + 0.5) * scale
            let first = max(0, Int(center - reach + 0.5))
            let last = min(size, Int(center + reach + 0.5)) - 1
            let heights = (first...last).map { (old: Int) -> Double in
                let distance: Double = abs(Double(old) + 0.5 - center)
                return max(0, 1 - distance / reach)
            }
            let total = heights.reduce(0, +)
            return Shares(first: first, weights: heights.map { Float($0 / total) })
        }
    }
}

#if canImport(UIKit)
    import UIKit

    extension Pixels {
        /// Reads a picture upright, its transparent parts on white, in sRGB.
        public init(_ image: UIImage) throws {
            let width = Int((image.size.width * image.scale).rounded())
            let height = Int((image.size.height * image.scale).rounded())
            var bytes = [UInt8](repeating: 255, count: 4 * max(width, 0) * max(height, 0))
            let isDrawn = bytes.withUnsafeMutableBytes { buffer -> Bool in
                guard
                    let colors = CGColorSpace(name: CGColorSpace.sRGB),
                    let context = CGContext(
                        data: buffer.baseAddress, width: width, height: height,
                        bitsPerComponent: 8, bytesPerRow: 4 * width, space: colors,
                        bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
                else { return false }
                let area = CGRect(x: 0, y: 0, width: width, height: height)
                // UIKit counts rows from the top, Core Graphics from the bottom.
                context.translateBy(x: 0, y: CGFloat(height))
                context.scaleBy(x: 1, y: -1)
                UIGraphicsPushContext(context)
                UIColor.white.setFill()
                UIRectFill(area)
                image.draw(in: area)
                UIGraphicsPopContext()
                return true
            }
            guard isDrawn else {
                throw ClassifierError(
                    "`image`: a picture with pixels. Received: \(width) x \(height) pixels."
                )
            }
            try self.init(width: width, height: height, bytes: bytes)
        }
    }
#endif
