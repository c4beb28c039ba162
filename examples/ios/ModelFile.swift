import Foundation

/// Says what is wrong with a file, a picture or a text, and what to do.
public struct ClassifierError: LocalizedError, CustomStringConvertible {
    public let description: String
    public var errorDescription: String? { description }

    init(_ description: String) { self.description = description }
}

/// What a .tflite file of mmkd_tf holds: the model, and behind it an uncompressed zip archive.
public struct ModelFile: Sendable {
    /// Names of classes, labels or targets in the order of the outputs; none of embeddings.
    public let labels: [String]
    /// Name of the output: `probabilities`, `values` or `embedding`.
    public let output: String
    /// Probability above which a label is given, where any number of them may be; else nil.
    public let threshold: Float?
    /// What the model divides its logits by to be as sure as it is right, or nil.
    public let temperature: Float?
    /// By input, words in the order of their ids; of token ids alone.
    public let vocabularies: [String: [String]]
    /// By input, what it takes: `image`, `text`, `audio` or `series`.
    public let kinds: [String: String]
    /// By input of sounds, the samples a second that it takes.
    public let rates: [String: Int]
    /// By input of texts as UTF-8, the number of words that are read.
    public let mostWords: [String: Int]

    private static let formats = 1...3
    private static let knownKinds = ["image", "text", "audio", "series"]
    /// By task, the output that a file of it has.
    private static let outputs = [
        "single_label": "probabilities", "multi_label": "probabilities", "regression": "values",
        "retrieval": "embedding", "embedding": "embedding",
    ]

    /// Reads and checks a file.
    ///
    /// The checksum is no luxury: an interpreter may crash on a damaged model, and the app with it.
    ///
    /// - Throws: `ClassifierError` if it is another file, cut off, damaged or too new.
    public init(content: Data) throws {
        let bytes = [UInt8](content)
        guard bytes.count > 8, Array(bytes[4..<8]) == Array("TFL3".utf8) else {
            throw ModelFile.refusal("\(bytes.count) bytes of something else")
        }
        let files = try ModelFile.readArchive(bytes)
        guard let json = files["mmkd.json"],
            let description = try? JSONSerialization.jsonObject(with: Data(json))
                as? [String: Any],
            let names = description["files"] as? [String],
            let inputs = description["inputs"] as? [String: [String: Any]],
            let outputs = description["outputs"] as? [String: [String: Any]],
            let (output, answer) = outputs.first, outputs.count == 1,
            let modelBytes = description["model_bytes"] as? Int,
            let modelChecksum = description["model_crc32"] as? Int,
            names.allSatisfy({ files[$0] != nil }),
            names.contains("labels.txt") == (output != "embedding")
        else {
            throw ModelFile.refusal("one without sound labels, vocabulary or description")
        }
        var kinds: [String: String] = [:]
        for (name, input) in inputs { kinds[name] = input["kind"] as? String ?? name }
        let rules = inputs.values.compactMap { $0["tokenizer_rules"] as? Int }
        let task = description["task"] as? String ?? "single_label"
        guard let format = description["format"] as? Int, ModelFile.formats ~= format,
            ModelFile.outputs[task] == output,
            rules.allSatisfy({ $0 == Tokenizer.rules }),
            kinds.values.allSatisfy(ModelFile.knownKinds.contains)
        else {
            throw ModelFile.refusal("one that is newer than this code")
        }
        guard 0...bytes.count ~= modelBytes,
            Int(ModelFile.checksum(bytes[0..<modelBytes])) == modelChecksum
        else {
            throw ModelFile.refusal("one whose checksum does not fit: it is damaged")
        }
        self.labels = try files["labels.txt"].map(ModelFile.lines) ?? []
        self.output = output
        let threshold = (answer["threshold"] as? Double) ?? 0.5
        self.threshold = task == "multi_label" ? Float(threshold) : nil
        self.temperature = (answer["temperature"] as? Double).map { Float($0) }
        self.kinds = kinds
        self.rates = inputs.compactMapValues { $0["rate"] as? Int }
        self.mostWords = inputs.compactMapValues { $0["most_words"] as? Int }
        var vocabularies: [String: [String]] = [:]
        for (input, kind) in kinds where kind == "text" {
            let name = input == kind ? "vocab.txt" : "\(input).vocab.txt"
            if names.contains("\(name).gz"), let packed = files["\(name).gz"] {
                vocabularies[input] = try ModelFile.lines(ModelFile.unpacked(packed))
            } else if names.contains(name), let words = files[name] {
                vocabularies[input] = try ModelFile.lines(words)
            }
        }
        self.vocabularies = vocabularies
    }

    private static func refusal(_ received: String) -> ClassifierError {
        ClassifierError(
            "`content`: a .tflite file exported by mmkd_tf. Received: \(received). "
                + "Copy it again, or export it again."
        )
    }

    /// Gives the files in the archive by name. Nothing in it is compressed.
    private static func readArchive(_ bytes: [UInt8]) throws -> [String: ArraySlice<UInt8>] {
        let endMark = 0x0605_4b50
        guard
            let end = try stride(from: bytes.count - 22, through: 0, by: -1)
                .first(where: { try number(bytes, $0, 4) == endMark })
        else { throw refusal("one without sound labels, vocabulary or description") }
        let directoryBytes = try number(bytes, end + 12, 4)
        // Offsets count from the archive's start; other tools set it after the model.
        let archive = end - directoryBytes - (try number(bytes, end + 16, 4))
        var files: [String: ArraySlice<UInt8>] = [:]
        var entry = end - directoryBytes
        for _ in 0..<(try number(bytes, end + 10, 2)) {
            let nameBytes = try number(bytes, entry + 28, 2)
            let name = try slice(bytes, entry + 46, nameBytes)
            let local = archive + (try number(bytes, entry + 42, 4))
            let localNames = try number(bytes, local + 26, 2) + number(bytes, local + 28, 2)
            let file = try slice(bytes, local + 30 + localNames, number(bytes, entry + 24, 4))
            let isStored = try number(bytes, entry + 10, 2) == 0
            if try isStored && Int(checksum(file)) == number(bytes, entry + 16, 4) {
                files[String(decoding: name, as: UTF8.self)] = file
            }
            entry += 46 + nameBytes + (try number(bytes, entry + 30, 2))
                + (try number(bytes, entry + 32, 2))
        }
        return files
    }

    /// Gives what a gzip file holds that has neither a name nor other extras, as here.
    private static func unpacked(_ packed: ArraySlice<UInt8>) throws -> ArraySlice<UInt8> {
        let headBytes = 10
        let endBytes = 8
        guard packed.count > headBytes + endBytes, packed.starts(with: [0x1F, 0x8B, 8, 0]) else {
            throw refusal("one with a vocabulary in an unknown form")
        }
        let bytes = Array(packed)
        let end = bytes.count - endBytes
        var inflation = Inflation(bytes[headBytes..<end], most: try number(bytes, end + 4, 4))
        guard let text = inflation.text(), text.count == (try number(bytes, end + 4, 4)),
            Int(checksum(text[...])) == (try number(bytes, end, 4))
        else {
            throw refusal("one that is damaged")
        }
        return text[...]
    }

    /// Reads a number without sign, its lowest byte first, as zip archives store them.
    private static func number(_ bytes: [UInt8], _ at: Int, _ count: Int) throws -> Int {
        try slice(bytes, at, count).reversed().reduce(0) { $0 * 256 + Int($1) }
    }

    private static func slice(
        _ bytes: [UInt8], _ at: Int, _ count: Int
    ) throws -> ArraySlice<UInt8> {
        guard at >= 0, count >= 0, count <= bytes.count - at else {
            throw refusal("one that is cut off or damaged")
        }
        return bytes[at..<(at + count)]
    }

    /// Splits at line feeds alone: the place of a line is its number, so none may get lost.
    private static func lines(_ text: ArraySlice<UInt8>) throws -> [String] {
        try text.split(separator: 0x0A, omittingEmptySubsequences: false).map {
            guard let line = String(bytes: $0, encoding: .utf8) else {
                throw refusal("one that is damaged")
            }
            return line
        }
    }

    /// The checksum that zip archives use, CRC-32.
    private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        ~bytes.reduce(~0) { (sum: UInt32, byte) in
            remainders[Int((sum ^ UInt32(byte)) & 255)] ^ (sum >> 8)
        }
    }

    private static let remainders: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(byte) { rest, _ in rest & 1 == 1 ? 0xEDB8_8320 ^ (rest >> 1) : rest >> 1 }
    }
}

/// Unpacks the format deflate (RFC 1951), which Foundation reads on Apple's systems alone.
private struct Inflation {
    private let packed: ArraySlice<UInt8>
    private let most: Int
    private var place: Int
    private var bits = 0
    private var bitCount = 0
    private var made: [UInt8] = []

    /// How many codes there are by number of bits, and what they stand for, in order.
    private typealias Code = (counts: [Int], symbols: [Int])

    /// - Parameter most: bytes that it may become.
    init(_ packed: ArraySlice<UInt8>, most: Int) {
        self.packed = packed
        self.most = most
        place = packed.startIndex
    }

    /// Gives the bytes; nil if these are damaged.
    mutating func text() -> [UInt8]? {
        while true {
            guard let isLast = take(1), let form = take(2) else { return nil }
            let isWhole: Bool
            switch form {
            case 0:
                isWhole = copy()
            case 1:
                let lengths = (0..<288).map { (symbol: Int) -> Int in
                    symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8
                }
                isWhole = inflate(
                    Inflation.code(lengths[...]),
                    Inflation.code(ArraySlice(repeating: 5, count: 30)))
            case 2:
                guard let (letters, distances) = codes() else { return nil }
                isWhole = inflate(letters, distances)
            default:
                isWhole = false
            }
            if !isWhole { return nil }
            if isLast == 1 { return made }
        }
    }

    private mutating func take(_ count: Int) -> Int? {
        while bitCount < count {
            guard place < packed.endIndex else { return nil }
            bits |= Int(packed[place]) << bitCount
            place += 1
            bitCount += 8
        }
        defer {
            bits >>= count
            bitCount -= count
        }
        return bits & ((1 << count) - 1)
    }

    private mutating func copy() -> Bool {
        (bits, bitCount) = (0, 0)
        guard let count = take(16), let complement = take(16), count ^ complement == 0xFFFF,
            count <= packed.endIndex - place, made.count + count <= most
        else { return false }
        made += packed[place..<(place + count)]
        place += count
        return true
    }

    private static func code(_ lengths: ArraySlice<Int>) -> Code {
        var counts = [Int](repeating: 0, count: 16)
        for length in lengths where length > 0 { counts[length] += 1 }
        let symbols = (1..<16).flatMap { length in
            lengths.indices.filter { lengths[$0] == length }.map { $0 - lengths.startIndex }
        }
        return (counts, symbols)
    }

    private mutating func symbol(_ code: Code) -> Int? {
        var (found, first, index) = (0, 0, 0)
        for length in 1..<16 {
            guard let bit = take(1) else { return nil }
            found |= bit
            let count = code.counts[length]
            if found - first < count {
                let at = index + found - first
                return at < 0 ? nil : code.symbols[at]
            }
            index += count
            first = (first + count) << 1
            found <<= 1
        }
        return nil
    }

    /// Reads the codes of a block that brings its own.
    private mutating func codes() -> (Code, Code)? {
        guard let more = take(5), let distances = take(5), let last = take(4) else { return nil }
        let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
        var ofLengths = [Int](repeating: 0, count: 19)
        for place in 0..<(last + 4) {
            guard let length = take(3) else { return nil }
            ofLengths[order[place]] = length
        }
        let code = Inflation.code(ofLengths[...])
        let (letters, count) = (more + 257, more + 257 + distances + 1)
        var lengths: [Int] = []
        while lengths.count < count {
            guard let found = symbol(code) else { return nil }
            if found < 16 {
                lengths.append(found)
                continue
            }
            let (bits, least) = [(2, 3), (3, 3), (7, 11)][found - 16]
            guard let times = take(bits), found > 16 || !lengths.isEmpty else { return nil }
            let length = found == 16 ? lengths[lengths.count - 1] : 0
            lengths += [Int](repeating: length, count: least + times)
        }
        if lengths.count > count { return nil }
        return (Inflation.code(lengths[..<letters]), Inflation.code(lengths[letters...]))
    }

    private mutating func inflate(_ letters: Code, _ distances: Code) -> Bool {
        while true {
            guard let found = symbol(letters) else { return false }
            if found == 256 { return true }
            if found < 256 {
                if made.count == most { return false }
                made.append(UInt8(found))
                continue
            }
            guard let count = length(found - 257), let far = symbol(distances), far < 30 else {
                return false
            }
            let bits = max(far / 2 - 1, 0)
            guard let rest = take(bits) else { return false }
            let back = (far < 4 ? far : (2 + far % 2) << bits) + rest + 1
            if back > made.count || made.count + count > most { return false }
            for _ in 0..<count { made.append(made[made.count - back]) }
        }
    }

    private mutating func length(_ place: Int) -> Int? {
        if place < 8 { return place + 3 }
        if place == 28 { return 258 }
        if place > 28 { return nil }
        let bits = place / 4 - 1
        guard let rest = take(bits) else { return nil }
        return ((4 + place % 4) << bits) + rest + 3
    }
}
