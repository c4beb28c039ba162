#if canImport(UIKit)
    import UIKit
#endif

/// A classifier of pictures, texts, sounds and series, of one class of several or of any number of
/// labels, read from a .tflite file that mmkd_tf exported.
///
/// Create it once and keep it: that costs far more than an answer. Call it off the main thread.
/// Calls from several threads wait for each other.
public final class Classifier: Sendable {
    private let session: ModelSession

    /// Names of the classes or labels, in the order of the model's outputs.
    public var labels: [String] { session.file.labels }
    /// Names of what the model takes, such as `image` and `text`.
    public var inputs: [String] { session.inputs }

    /// - Parameters:
    ///   - path: the .tflite file, for example `Bundle.main.path(forResource: "student", ofType:
    ///     "tflite")`.
    ///   - threadCount: number of threads for one answer. One is the best for small models.
    /// - Throws: `ClassifierError` if the file is not a model that this class can run, and what
    ///   `Data(contentsOf:)` and `Interpreter` throw.
    public init(path: String, threadCount: Int = 1) throws {
        session = try ModelSession(path: path, threadCount: threadCount, output: "probabilities")
    }

    /// Classifies one example.
    ///
    /// - Parameters:
    ///   - pixels: a picture of any size, upright; nil if there is none.
    ///   - text: as people write it; nil or empty if there is none.
    /// - Throws: `ClassifierError` if there is neither a picture nor a word, or the model doesn't
    ///   take what is given.
    public func predict(pixels: Pixels? = nil, text: String? = nil) throws -> Prediction {
        Prediction(file: session.file, outputs: try session.outputs(pixels: pixels, text: text))
    }

    /// Classifies one example of inputs of any name; `values` has what there is.
    public func predict(_ values: [String: InputValue]) throws -> Prediction {
        Prediction(file: session.file, outputs: try session.outputs(values))
    }

    /// Gives the words of texts that the model would read, but for which its bytes lack room, by
    /// input. Empty where all is read, and of a model that takes token ids.
    public func cutWords(_ values: [String: InputValue]) -> [String: [String]] {
        session.cutWords(values)
    }
}

/// A model of numbers, in all else as `Classifier`.
public final class Regressor: Sendable {
    private let session: ModelSession

    /// Names of the targets, in the order of the model's outputs.
    public var targets: [String] { session.file.labels }
    /// Names of what the model takes, such as `image` and `text`.
    public var inputs: [String] { session.inputs }

    public init(path: String, threadCount: Int = 1) throws {
        session = try ModelSession(path: path, threadCount: threadCount, output: "values")
    }

    /// Tells the numbers of one example, each in the unit of its target, in the order of `targets`.
    public func predict(
        pixels: Pixels? = nil, text: String? = nil
    ) throws -> [(target: String, value: Float)] {
        let values = try session.outputs(pixels: pixels, text: text)
        return zip(targets, values).map { (target: $0.0, value: $0.1) }
    }

    /// The same of inputs of any name; `values` has what there is.
    public func predict(
        _ values: [String: InputValue]
    ) throws -> [(target: String, value: Float)] {
        zip(targets, try session.outputs(values)).map { (target: $0.0, value: $0.1) }
    }

    /// As `Classifier.cutWords`.
    public func cutWords(_ values: [String: InputValue]) -> [String: [String]] {
        session.cutWords(values)
    }
}

/// One of the two files of a retrieval run, in all else as `Classifier`.
///
/// What belongs together, such as a picture and its text, has embeddings with a high cosine; an
/// `EmbeddingIndex` searches them.
public final class EmbeddingEncoder: Sendable {
    private let session: ModelSession

    /// Name of what the model takes.
    public var input: String { session.inputs[0] }

    public init(path: String, threadCount: Int = 1) throws {
        session = try ModelSession(path: path, threadCount: threadCount, output: "embedding")
    }

    /// Gives the embedding of a picture or a text, whichever the file reads; of length 1.
    public func encode(pixels: Pixels? = nil, text: String? = nil) throws -> [Float] {
        try session.outputs(pixels: pixels, text: text)
    }

    /// The same of an input of any name.
    public func encode(_ value: InputValue) throws -> [Float] {
        try session.outputs([input: value])
    }

    /// The words of a text for which the model's bytes lack room, see `Classifier.cutWords`.
    public func cutWords(_ text: String) -> [String] {
        session.cutWords([input: .text(text)])[input] ?? []
    }
}

#if canImport(UIKit)
    extension Classifier {
        /// Classifies one example, see `predict(pixels:text:)`.
        public func predict(image: UIImage?, text: String? = nil) throws -> Prediction {
            try predict(pixels: image.map { try Pixels($0) }, text: text)
        }
    }

    extension Regressor {
        /// Tells the numbers of one example, see `predict(pixels:text:)`.
        public func predict(
            image: UIImage?, text: String? = nil
        ) throws -> [(target: String, value: Float)] {
            try predict(pixels: image.map { try Pixels($0) }, text: text)
        }
    }

    extension EmbeddingEncoder {
        /// Gives the embedding of a picture, see `encode(pixels:text:)`.
        public func encode(image: UIImage) throws -> [Float] {
            try encode(pixels: Pixels(image))
        }
    }
#endif
