import Foundation

// Answers each line of the standard input, so that test_ports.py can compare with Python.

/// Reads UTF-16 in hexadecimal digits; `-` is empty.
func text(_ hex: String) -> String {
    let digits = Array(hex == "-" ? "" : hex)
    let units = stride(from: 0, to: digits.count, by: 4).map {
        UInt16(String(digits[$0..<($0 + 4)]), radix: 16)!
    }
    return String(decoding: units, as: UTF16.self)
}

func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
        decoding: bytes.flatMap { [digits[Int($0) / 16], digits[Int($0) % 16]] }, as: UTF8.self)
}

func floats(_ text: String) -> [Float] { text.split(separator: ",").map { Float(String($0))! } }

func hex(_ text: String) -> String { hex(Array(text.utf8)) }

func string(_ codePoints: [UInt32]) -> String {
    var scalars = String.UnicodeScalarView()
    scalars.append(contentsOf: codePoints.map { Unicode.Scalar($0)! })
    return String(scalars)
}

var tokenizer = try Tokenizer(vocabulary: ["<pad>", "<unk>"], length: 1)

func answer(_ command: String, _ arguments: [String]) throws -> String {
    switch command {
    case "tokenizer":
        let words = text(arguments[1]).unicodeScalars.split(separator: "\n").map { String($0) }
        tokenizer = try Tokenizer(vocabulary: words, length: Int(arguments[0])!)
        return ""
    case "words":
        return Tokenizer.splitWords(text(arguments[0])).map { hex(string($0)) }
            .joined(separator: " ")
    case "ids":
        return tokenizer.ids(text(arguments[0])).map(String.init).joined(separator: " ")
    case "bytes":
        return hex(utf8Bytes(text(arguments[1]), count: Int(arguments[0])!))
    case "cut":
        let (count, mostWords) = (Int(arguments[0])!, Int(arguments[1])!)
        return wordsWithoutRoom(text(arguments[2]), count: count, mostWords: mostWords)
            .map { hex($0) }.joined(separator: " ")
    case "file":
        let content = try Data(contentsOf: URL(fileURLWithPath: arguments[0]))
        let file = try ModelFile(content: content)
        let threshold = file.threshold.map { "\($0)" } ?? "-"
        let temperature = file.temperature.map { "\($0)" } ?? "-"
        return hex(file.labels.joined(separator: "\n")) + " "
            + hex(file.vocabularies["text"]?.joined(separator: "\n") ?? "none") + " "
            + hex("\(file.output) \(threshold) \(temperature)")
    case "predict":
        let content = try Data(contentsOf: URL(fileURLWithPath: arguments[0]))
        let answer = Prediction(
            file: try ModelFile(content: content), outputs: floats(arguments[1]))
        let names = [answer.label] + answer.probabilities.map { $0.label } + answer.given
        return (names + ["\(answer.isCalibrated)"]).map { hex($0) }.joined(separator: " ")
    case "search":
        var index = EmbeddingIndex()
        for (place, one) in arguments.dropFirst(2).enumerated() {
            try index.add("item\(place)", embedding: floats(one))
        }
        return try index.search(floats(arguments[1]), top: Int(arguments[0])!)
            .map { "\($0.item) \($0.score)" }.joined(separator: " ")
    case "pixels":
        let content = try Data(contentsOf: URL(fileURLWithPath: arguments[4]))
        let sizes = arguments[..<4].map { Int($0)! }
        let pixels = try Pixels(width: sizes[0], height: sizes[1], bytes: [UInt8](content))
        return hex(pixels.resized(width: sizes[2], height: sizes[3]))
    case "inputs":
        let file = try ModelFile(content: Data(contentsOf: URL(fileURLWithPath: arguments[0])))
        return file.kinds.sorted { $0.key < $1.key }.map { name, kind in
            let rate = file.rates[name].map { "\($0)" } ?? "-"
            let words = file.vocabularies[name].map { "\($0.count)" } ?? "-"
            return "\(name)=\(kind),\(rate),\(words)"
        }.joined(separator: " ")
    case "sound":
        let numbers = arguments[..<4].map { Int($0)! }
        let samples = floats(arguments[4])
        let sound =
            arguments[5] == "short"
            ? try Sound(samples: samples.map { Int16($0) }, rate: numbers[2], channels: numbers[3])
            : try Sound(samples: samples, rate: numbers[2], channels: numbers[3])
        return sound.tensor(rate: numbers[0], count: numbers[1]).map { "\($0)" }
            .joined(separator: ",")
    case "series":
        let steps = arguments[2].split(separator: ";").map { floats(String($0)) }
        let times = arguments.dropFirst(3).first?.split(separator: ",").map { Double($0)! }
        return try Series(values: steps, times: times)
            .tensor(length: Int(arguments[0])!, channels: Int(arguments[1])!)
            .map { "\($0)" }.joined(separator: ",")
    default:
        return "error: no command \(command)"
    }
}

while let line = readLine() {
    let parts = line.split(separator: " ").map(String.init)
    do {
        print(try answer(parts[0], Array(parts.dropFirst())))
    } catch let error as ClassifierError {
        print("error: \(error)")
    }
}
