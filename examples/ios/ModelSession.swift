import Foundation
import TensorFlowLite

/// What one input of a model is given.
public enum InputValue: Sendable {
    /// A picture of any size, upright.
    case pixels(Pixels)
    /// A text as people write it.
    case text(String)
    case sound(Sound)
    case series(Series)
}

/// A file that is read, checked and run; what `Classifier`, `Regressor` and `EmbeddingEncoder` have
/// in common.
final class ModelSession: @unchecked Sendable {
    let file: ModelFile
    /// Names of what the model takes.
    var inputs: [String] { forms.keys.sorted() }

    private static let signature = "serving_default"
    /// Sizes of an input's tensor, by kind.
    private static let ranks = ["image": 4, "text": 2, "audio": 2, "series": 3]

    private let forms: [String: Tensor]
    private let runner: SignatureRunner
    private let tokenizers: [String: Tokenizer]
    private let lock = NSLock()

    /// - Parameters:
    ///   - output: name of the output that the caller can answer for.
    /// - Throws: `ClassifierError` if the file is not a model that can be run, and what
    ///   `Data(contentsOf:)` and `Interpreter` throw.
    init(path: String, threadCount: Int, output: String) throws {
        let file = try ModelFile(content: Data(contentsOf: URL(fileURLWithPath: path)))
        guard file.output == output else {
            throw ClassifierError(
                "`path`: a model that gives \(output). Received: '\(path)', which gives "
                    + "\(file.output). Classifier is for probabilities, Regressor for values, "
                    + "EmbeddingEncoder for embeddings."
            )
        }
        var options = Interpreter.Options()
        options.threadCount = threadCount
        let interpreter = try Interpreter(modelPath: path, options: options)
        runner = try interpreter.signatureRunner(with: ModelSession.signature)

        var forms: [String: Tensor] = [:]
        for name in runner.inputs { forms[name] = try runner.input(named: name) }
        let fit = forms.allSatisfy { name, form in
            let rank = file.kinds[name].flatMap { ModelSession.ranks[$0] }
            let hasRate = file.kinds[name] != "audio" || file.rates[name] != nil
            return form.shape.dimensions.count == rank && form.shape.dimensions.first == 1
                && hasRate
        }
        guard fit else {
            throw ClassifierError(
                "`path`: a model that takes one picture, text, sound or series each. Received: "
                    + "'\(path)', inputs \(forms.mapValues { $0.shape.dimensions })."
            )
        }
        var tokenizers: [String: Tokenizer] = [:]
        for (name, words) in file.vocabularies {
            guard let text = forms[name], text.dataType != .uInt8 else { continue }
            let length = text.shape.dimensions.last ?? 0
            tokenizers[name] = try Tokenizer(vocabulary: words, length: length)
        }
        self.tokenizers = tokenizers
        self.file = file
        self.forms = forms
    }

    /// Gives the outputs for a picture and a text, of inputs that are called so.
    func outputs(pixels: Pixels?, text: String?) throws -> [Float] {
        var values: [String: InputValue] = [:]
        values["image"] = pixels.map { .pixels($0) }
        values["text"] = text.map { .text($0) }
        return try outputs(values)
    }

    /// Gives the outputs for one example.
    ///
    /// - Parameter values: by input what there is.
    /// - Throws: `ClassifierError` if there is nothing that the model can read, or it doesn't take
    ///   what is given.
    func outputs(_ values: [String: InputValue]) throws -> [Float] {
        // Zeros: absent.
        var tensors = forms.mapValues { Data(count: $0.data.count) }
        for (name, value) in values { tensors[name] = try data(name, value) }
        guard tensors.values.contains(where: { $0.contains { $0 != 0 } }) else {
            throw ClassifierError(
                "`values`: at least one of \(inputs). "
                    + "Received: nothing, such as a text without a word."
            )
        }
        lock.lock()
        defer { lock.unlock() }
        try runner.invoke(with: tensors)
        let answer = try runner.output(named: file.output).data
        let values = answer.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        // Asked for before the first call, the output of a model with a loop would not be there.
        guard file.labels.isEmpty || values.count == file.labels.count else {
            throw ClassifierError(
                "`path`: a model with a label for each output. "
                    + "Received: \(file.labels.count) labels, \(values.count) outputs."
            )
        }
        return values
    }

    /// Gives the words of each text for which the model lacks room, by input.
    func cutWords(_ values: [String: InputValue]) -> [String: [String]] {
        var found: [String: [String]] = [:]
        for (name, value) in values {
            guard case .text(let text) = value, let form = forms[name], form.dataType == .uInt8,
                file.kinds[name] == "text"
            else { continue }
            let count = form.data.count
            let cut = wordsWithoutRoom(text, count: count, mostWords: file.mostWords[name])
            if !cut.isEmpty { found[name] = cut }
        }
        return found
    }

    private func data(_ name: String, _ value: InputValue) throws -> Data {
        guard let form = forms[name] else {
            throw ClassifierError("`\(name)`: nothing, since this model takes \(inputs) only.")
        }
        let size = form.shape.dimensions
        switch (value, file.kinds[name]) {
        case (.pixels(let pixels), "image"):
            let values = pixels.resized(width: size[2], height: size[1])
            if form.dataType == .uInt8 { return Data(values) }
            return values.map { Float($0) }.withUnsafeBytes { Data($0) }
        case (.text(let text), "text"):
            if form.dataType == .uInt8 {  // exported with text_input="bytes"
                return Data(utf8Bytes(text, count: form.data.count))
            }
            guard let tokenizer = tokenizers[name] else {
                throw ClassifierError(
                    "`\(name)`: nothing, since this file has no vocabulary. "
                        + "Export it with vocabulary=."
                )
            }
            return tokenizer.ids(text).withUnsafeBytes { Data($0) }
        case (.sound(let sound), "audio"):
            let values = sound.tensor(rate: file.rates[name]!, count: size[1])
            return values.withUnsafeBytes { Data($0) }
        case (.series(let series), "series"):
            let values = try series.tensor(length: size[1], channels: size[2] - 1)
            return values.withUnsafeBytes { Data($0) }
        default:
            throw ClassifierError(
                "`\(name)`: a value of kind \(file.kinds[name] ?? "none"). Received: \(value)."
            )
        }
    }
}
