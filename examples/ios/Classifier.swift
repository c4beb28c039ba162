import Foundation
import TensorFlowLite

#if canImport(UIKit)
    import UIKit
#endif

/// The answer for one example.
public struct Prediction {
    /// Class names and their probabilities, 0 to 1, the most probable first.
    public let probabilities: [(label: String, probability: Float)]

    public var label: String { probabilities[0].label }
    public var probability: Float { probabilities[0].probability }
}

/// A classifier of a picture, a text or both, read from a .tflite file that mmkd_tf exported.
///
/// Create it once and keep it: that costs far more than an answer. Call it off the main thread.
/// Calls from several threads wait for each other.
public final class Classifier: @unchecked Sendable {
    /// Names of the classes, in the order of the model's outputs.
    public let labels: [String]
    /// What the model takes: `image`, `text` or both.
    public var inputs: [String] { forms.keys.sorted() }

    private static let signature = "serving_default"
    private static let output = "probabilities"

    private let forms: [String: Tensor]
    private let runner: SignatureRunner
    private let tokenizer: Tokenizer?
    private let lock = NSLock()

    /// - Parameters:
    ///   - path: the .tflite file, for example `Bundle.main.path(forResource: "student", ofType:
    ///     "tflite")`.
    ///   - threadCount: number of threads for one answer. One is the best for small models.
    /// - Throws: `ClassifierError` if the file is not a model that this class can run, and what
    ///   `Data(contentsOf:)` and `Interpreter` throw.
    public init(path: String, threadCount: Int = 1) throws {
        let file = try ModelFile(content: Data(contentsOf: URL(fileURLWithPath: path)))
        var options = Interpreter.Options()
        options.threadCount = threadCount
        let interpreter = try Interpreter(modelPath: path, options: options)
        runner = try interpreter.signatureRunner(with: Classifier.signature)

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
        labels = file.labels
        self.forms = forms
    }

    /// Classifies one example.
    ///
    /// - Parameters:
    ///   - pixels: a picture of any size, upright; nil if there is none.
    ///   - text: as people write it; nil or empty if there is none.
    /// - Throws: `ClassifierError` if there is neither a picture nor a word, or the model doesn't
    ///   take what is given.
    public func predict(pixels: Pixels? = nil, text: String? = nil) throws -> Prediction {
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
        let answer = try runner.output(named: Classifier.output).data
        let values = answer.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        // Asked for before the first call, the output of a model with a loop would not be there.
        guard values.count == labels.count else {
            throw ClassifierError(
                "`path`: a model with a label for each output. "
                    + "Received: \(labels.count) labels, \(values.count) outputs."
            )
        }
        let ranked = zip(labels, values).sorted { $0.1 > $1.1 }
        return Prediction(probabilities: ranked.map { (label: $0.0, probability: $0.1) })
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

#if canImport(UIKit)
    extension Classifier {
        /// Classifies one example, see `predict(pixels:text:)`.
        public func predict(image: UIImage?, text: String? = nil) throws -> Prediction {
            try predict(pixels: image.map { try Pixels($0) }, text: text)
        }
    }
#endif
