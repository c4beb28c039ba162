/// Turns a text into the token ids that a model takes; tokenizer rules 1, see docs/tokenizer.md.
///
/// The rules are lists of code points, given below. Don't use `lowercased()`, `split` or regular
/// expressions in their place: what these do depends on the version of iOS. Words are arrays of
/// code points, not strings: strings that look the same are equal to Swift, but not to the model.
public struct Tokenizer: Sendable {
    public static let rules = 1
    public static let padID: Int32 = 0
    public static let unknownID: Int32 = 1

    private let idOfWord: [[UInt32]: Int32]
    private let length: Int

    /// - Parameters:
    ///   - vocabulary: words in the order of their ids; the first two are `<pad>` and `<unk>`.
    ///   - length: number of ids that a text becomes, at least 1.
    public init(vocabulary: [String], length: Int) throws {
        var idOfWord: [[UInt32]: Int32] = [:]
        for (id, word) in vocabulary.enumerated().dropFirst(2) {
            idOfWord[word.unicodeScalars.map { $0.value }] = Int32(id)
        }
        guard Array(vocabulary.prefix(2)) == ["<pad>", "<unk>"],
            idOfWord.count == vocabulary.count - 2
        else {
            throw ClassifierError(
                "`vocabulary`: distinct words that begin with '<pad>', '<unk>'. Received: "
                    + "\(vocabulary.count) words beginning with \(vocabulary.prefix(2)). "
                    + "Take it from the .tflite file."
            )
        }
        guard length >= 1 else {
            throw ClassifierError("`length`: at least 1. Received: length=\(length).")
        }
        self.idOfWord = idOfWord
        self.length = length
    }

    /// Gives `length` ids: words beyond are cut, missing ones are 0, unknown ones are 1.
    public func ids(_ text: String) -> [Int32] {
        let words = Tokenizer.splitWords(text)
        return (0..<length).map { place in
            place < words.count ? idOfWord[words[place]] ?? Tokenizer.unknownID : Tokenizer.padID
        }
    }

    /// Folds case and splits a text into words, each an array of code points.
    public static func splitWords(_ text: String) -> [[UInt32]] {
        var words: [[UInt32]] = []
        var word: [UInt32] = []
        func endWord() {
            if !word.isEmpty { words.append(word) }
            word = []
        }
        for scalar in text.unicodeScalars {
            let place = Int(scalar.value)
            let codePoint = place < folded.count ? folded[place] : scalar.value
            if isIn(separators, codePoint) {
                endWord()
            } else if isIn(singles, codePoint) {
                endWord()
                words.append([codePoint])
            } else {
                word.append(codePoint)
            }
        }
        endWord()
        return words
    }

    /// Gives the code points of a text, one space for all that parts two words, none at the ends.
    static func withSingleSpaces(_ text: String) -> [UInt32] {
        var made: [UInt32] = []
        var isApart = false
        for scalar in text.unicodeScalars {
            if isIn(separators, scalar.value) {
                isApart = !made.isEmpty
            } else {
                if isApart { made.append(0x20) }
                made.append(scalar.value)
                isApart = false
            }
        }
        return made
    }

    /// Tells whether a code point goes on with the word before it.
    static func isPart(_ codePoint: UInt32) -> Bool {
        !isIn(separators, codePoint) && !isIn(singles, codePoint)
    }

    private static func isIn(_ ranges: [UInt32], _ codePoint: UInt32) -> Bool {
        for i in stride(from: 0, to: ranges.count, by: 2) where codePoint <= ranges[i + 1] {
            return codePoint >= ranges[i]
        }
        return false
    }

    /// First and last code points, both included: they end a word and are dropped.
    private static let separators: [UInt32] = [
        0x0000, 0x002F, 0x003A, 0x0040, 0x005B, 0x0060, 0x007B, 0x00A9, 0x00AB, 0x00B4,
        0x00B6, 0x00B9, 0x00BB, 0x00BF, 0x00D7, 0x00D7, 0x00F7, 0x00F7, 0x1680, 0x1680,
        0x2000, 0x206F, 0x20D0, 0x20FF, 0x2E00, 0x2E7F, 0x3000, 0x3004, 0x3008, 0x3020,
        0x3030, 0x3030, 0xD800, 0xDFFF, 0xE000, 0xF8FF, 0xFE00, 0xFE0F, 0xFE10, 0xFE6F,
        0xFEFF, 0xFF0F, 0xFF1A, 0xFF20, 0xFF3B, 0xFF40, 0xFF5B, 0xFF65, 0xFFE0, 0xFFFF,
        0xE0000, 0x10FFFF,
    ]

    /// First and last code points, both included: each is a word of its own.
    private static let singles: [UInt32] = [
        0x1100, 0x11FF, 0x2190, 0x2BFF, 0x2E80, 0x2FFF, 0x3005, 0x3007, 0x3021, 0x302F,
        0x3031, 0x9FFF, 0xA960, 0xA97F, 0xAC00, 0xD7FF, 0xF900, 0xFAFF, 0xFF66, 0xFFDF,
        0x1B000, 0x1B16F, 0x1F000, 0x1FAFF, 0x20000, 0x3FFFF,
    ]

    /// Capital letters: first, last, step from one to the next, distance to the small one.
    private static let foldRuns: [Int] = [
        0x0041, 0x005A, 1, 32, 0x00C0, 0x00D6, 1, 32, 0x00D8, 0x00DE, 1, 32,
        0x0100, 0x012E, 2, 1, 0x0130, 0x0130, 1, -199, 0x0132, 0x0136, 2, 1,
        0x0139, 0x0147, 2, 1, 0x014A, 0x0176, 2, 1, 0x0178, 0x0178, 1, -121,
        0x0179, 0x017D, 2, 1, 0x0181, 0x0181, 1, 210, 0x0182, 0x0184, 2, 1,
        0x0186, 0x0186, 1, 206, 0x0187, 0x0187, 1, 1, 0x0189, 0x018A, 1, 205,
        0x018B, 0x018B, 1, 1, 0x018E, 0x018E, 1, 79, 0x018F, 0x018F, 1, 202,
        0x0190, 0x0190, 1, 203, 0x0191, 0x0191, 1, 1, 0x0193, 0x0193, 1, 205,
        0x0194, 0x0194, 1, 207, 0x0196, 0x0196, 1, 211, 0x0197, 0x0197, 1, 209,
        0x0198, 0x0198, 1, 1, 0x019C, 0x019C, 1, 211, 0x019D, 0x019D, 1, 213,
        0x019F, 0x019F, 1, 214, 0x01A0, 0x01A4, 2, 1, 0x01A6, 0x01A6, 1, 218,
        0x01A7, 0x01A7, 1, 1, 0x01A9, 0x01A9, 1, 218, 0x01AC, 0x01AC, 1, 1,
        0x01AE, 0x01AE, 1, 218, 0x01AF, 0x01AF, 1, 1, 0x01B1, 0x01B2, 1, 217,
        0x01B3, 0x01B5, 2, 1, 0x01B7, 0x01B7, 1, 219, 0x01B8, 0x01B8, 1, 1,
        0x01BC, 0x01BC, 1, 1, 0x01C4, 0x01C4, 1, 2, 0x01C5, 0x01C5, 1, 1,
        0x01C7, 0x01C7, 1, 2, 0x01C8, 0x01C8, 1, 1, 0x01CA, 0x01CA, 1, 2,
        0x01CB, 0x01DB, 2, 1, 0x01DE, 0x01EE, 2, 1, 0x01F1, 0x01F1, 1, 2,
        0x01F2, 0x01F4, 2, 1, 0x01F6, 0x01F6, 1, -97, 0x01F7, 0x01F7, 1, -56,
        0x01F8, 0x021E, 2, 1, 0x0220, 0x0220, 1, -130, 0x0222, 0x0232, 2, 1,
        0x023A, 0x023A, 1, 10795, 0x023B, 0x023B, 1, 1, 0x023D, 0x023D, 1, -163,
        0x023E, 0x023E, 1, 10792, 0x0241, 0x0241, 1, 1, 0x0243, 0x0243, 1, -195,
        0x0244, 0x0244, 1, 69, 0x0245, 0x0245, 1, 71, 0x0246, 0x024E, 2, 1,
        0x0370, 0x0372, 2, 1, 0x0376, 0x0376, 1, 1, 0x037F, 0x037F, 1, 116,
        0x0386, 0x0386, 1, 38, 0x0388, 0x038A, 1, 37, 0x038C, 0x038C, 1, 64,
        0x038E, 0x038F, 1, 63, 0x0391, 0x03A1, 1, 32, 0x03A3, 0x03AB, 1, 32,
        0x03CF, 0x03CF, 1, 8, 0x03D8, 0x03EE, 2, 1, 0x03F4, 0x03F4, 1, -60,
        0x03F7, 0x03F7, 1, 1, 0x03F9, 0x03F9, 1, -7, 0x03FA, 0x03FA, 1, 1,
        0x03FD, 0x03FF, 1, -130, 0x0400, 0x040F, 1, 80, 0x0410, 0x042F, 1, 32,
        0x0460, 0x0480, 2, 1, 0x048A, 0x04BE, 2, 1, 0x04C0, 0x04C0, 1, 15,
        0x04C1, 0x04CD, 2, 1, 0x04D0, 0x052E, 2, 1, 0x1E00, 0x1E94, 2, 1,
        0x1E9E, 0x1E9E, 1, -7615, 0x1EA0, 0x1EFE, 2, 1,
    ]

    /// The small letter of each code point up to the last capital one.
    private static let folded: [UInt32] = {
        var small = Array(0...UInt32(foldRuns[foldRuns.count - 3]))
        for i in stride(from: 0, to: foldRuns.count, by: 4) {
            let (first, last, step) = (foldRuns[i], foldRuns[i + 1], foldRuns[i + 2])
            for codePoint in stride(from: first, through: last, by: step) {
                small[codePoint] = UInt32(codePoint + foldRuns[i + 3])
            }
        }
        return small
    }()
}

/// Writes a text as UTF-8, for a model that has its tokenizer inside; 0 fills on the right.
///
/// Of a longer text, what parts its words takes one byte each time; if it is still longer, it is
/// cut behind a word, within the first where that alone is longer. One without words is all zeros.
public func utf8Bytes(_ text: String, count: Int) -> [UInt8] {
    let bytes = Array(fitting(text, count).utf8)
    return bytes + [UInt8](repeating: 0, count: count - bytes.count)
}

/// Gives the words of a text that a model of UTF-8 would read, but for which its bytes lack room.
///
/// - Parameter mostWords: number of words that the model reads at most, from mmkd.json; nil if
///   unknown.
public func wordsWithoutRoom(_ text: String, count: Int, mostWords: Int?) -> [String] {
    let words = Tokenizer.splitWords(text)
    let numKept = Tokenizer.splitWords(fitting(text, count)).count
    return words.prefix(mostWords ?? words.count).dropFirst(numKept).map { written($0) }
}

/// The part of a text that its UTF-8 has room for.
private func fitting(_ text: String, _ count: Int) -> String {
    if Tokenizer.splitWords(text).isEmpty { return "" }
    if text.utf8.count <= count {
        // U+0000 would look like the end; as a space it separates words, which is its meaning.
        return written(text.unicodeScalars.map { $0.value == 0 ? 0x20 : $0.value })
    }
    let spaced = Tokenizer.withSingleSpaces(text)
    var room = count
    var end = 0
    while end < spaced.count && room >= numBytes(spaced[end]) {
        room -= numBytes(spaced[end])
        end += 1
    }
    var kept = end
    func isPart(_ place: Int) -> Bool {
        spaced.indices.contains(place) && Tokenizer.isPart(spaced[place])
    }
    if isPart(end) && isPart(end - 1) {  // a part of a word could be taken for another one
        while isPart(kept - 1) { kept -= 1 }
        if kept > 0 && spaced[kept - 1] == 0x20 { kept -= 1 }
        if kept == 0 { kept = end }
    }
    return written(Array(spaced[..<kept]))
}

private func written(_ codePoints: [UInt32]) -> String {
    var scalars = String.UnicodeScalarView()
    scalars.append(contentsOf: codePoints.compactMap { Unicode.Scalar($0) })
    return String(scalars)
}

/// Size of a code point in UTF-8.
private func numBytes(_ codePoint: UInt32) -> Int {
    if codePoint <= 0x7F { return 1 }
    if codePoint <= 0x7FF { return 2 }
    return codePoint <= 0xFFFF ? 3 : 4
}
