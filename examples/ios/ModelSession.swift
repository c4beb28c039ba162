import Foundation
import TensorFlowLite

/// A file that is read, checked and run; what `Classifier`, `Regressor` and `EmbeddingEncoder` have
/// in common.
final class ModelSession: @unchecked Sendable {
    let file: ModelFile
    /// What the model takes: `image`, `text` or both.
    var inputs: [String] { forms.keys.sorted() }

    private static let signature = "serving_default"

    private let forms: [String: Tensor]
    private let runner: SignatureRunner
    private let tokenizer: Tokenizer?
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
        guard forms.keys.allSatisfy(["image", "text"].contains),
            forms.values.allSatisfy({ $0.shape.dimensions.first == 1 })
        else {
            throw ClassifierError(
                "`path`: a model that takes one image, one text or both. Received: '\(path)', "
                    + "inputs \(forms.mapValues { $0.shape.dimensions })."
            )
        }
        if let text = forms["text"], text.dataType != .uInt8, let vocabulary = file.vocabulary {
            let length = text.shape.dimensions.last ?? 0
            tokenizer = try Tokenizer(vocabulary: vocabulary, length: length)
        } else {
            tokenizer = nil
        }
        self.file = file
        self.forms = forms
    }

    /// Gives the outputs for one example.
    ///
    /// - Parameters:
    ///   - pixels: a picture of any size, upright; nil if there is none.
    ///   - text: as people write it; nil or empty if there is none.
    /// - Throws: `ClassifierError` if there is neither a picture nor a word, or the model doesn't
    ///   take what is given.
    func outputs(pixels: Pixels?, text: String?) throws -> [Float] {
        // Zeros: absent.
        var tensors = forms.mapValues { Data(count: $0.data.count) }
        if let pixels = pixels { tensors["image"] = try imageData(pixels) }
        if let text = text { tensors["text"] = try textData(text) }
        guard tensors.values.contains(where: { $0.contains { $0 != 0 } }) else {
            throw ClassifierError(
                "`pixels`, `text`: at least one of \(inputs). "
                    + "Received: neither a picture nor a word."
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

    private func imageData(_ pixels: Pixels) throws -> Data {
        let form = try self.form("image")
        let size = form.shape.dimensions
        let values = pixels.resized(width: size[2], height: size[1])
        if form.dataType == .uInt8 { return Data(values) }
        return values.map { Float($0) }.withUnsafeBytes { Data($0) }
    }

    private func textData(_ text: String) throws -> Data {
        let form = try self.form("text")
        if form.dataType == .uInt8 {  // exported with text_input="bytes"
            return Data(utf8Bytes(text, count: form.data.count))
        }
        guard let tokenizer = tokenizer else {
            throw ClassifierError(
                "`text`: nothing, since this file has no vocabulary. Export it with vocabulary=."
            )
        }
        return tokenizer.ids(text).withUnsafeBytes { Data($0) }
    }

    private func form(_ name: String) throws -> Tensor {
        guard let form = forms[name] else {
            throw ClassifierError("`\(name)`: nothing, since this model takes \(inputs) only.")
        }
        return form
    }
}
