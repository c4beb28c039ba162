/// The answer of a file of classes or labels for one example.
public struct Prediction: Sendable {
    /// Names and their probabilities, 0 to 1, the most probable first.
    public let probabilities: [(label: String, probability: Float)]
    /// The names that are given: `label` alone, or of a file that gives any number of labels, those
    /// above its threshold, the most probable first; maybe none.
    public let given: [String]
    /// Whether the file takes care that it is as sure as it is right: of answers with a probability
    /// of 0.7, 70 of 100 are right then.
    public let isCalibrated: Bool

    public var label: String { probabilities[0].label }
    public var probability: Float { probabilities[0].probability }

    /// Ranks what a file gives, in the order of its labels.
    init(file: ModelFile, outputs: [Float]) {
        let ranked = zip(file.labels, outputs).sorted { $0.1 > $1.1 }
        probabilities = ranked.map { (label: $0.0, probability: $0.1) }
        if let threshold = file.threshold {
            given = ranked.filter { $0.1 > threshold }.map { $0.0 }
        } else {
            given = ranked.prefix(1).map { $0.0 }
        }
        isCalibrated = file.temperature != nil
    }
}

/// What is found: an item that was added to an `EmbeddingIndex`, and the cosine of both embeddings.
public struct Match: Sendable {
    public let item: String
    public let score: Float
}

/// Embeddings with the items that they stand for; every search looks at all of them.
///
/// Embeddings are those of an `EmbeddingEncoder` for one input, or what Python's
/// `mmkd_tf.edge.Index` has as `embeddings`.
public struct EmbeddingIndex: Sendable {
    private var items: [String] = []
    private var units: [[Float]] = []

    public init() {}

    public var count: Int { items.count }

    /// Adds an item.
    ///
    /// - Throws: `ClassifierError` if the embedding is zeros or not finite, or of another width
    ///   than those before.
    public mutating func add(_ item: String, embedding: [Float]) throws {
        if let width = units.first?.count, embedding.count != width {
            throw ClassifierError(
                "`embedding`: of width \(width), as those before. Received: \(embedding.count)."
            )
        }
        units.append(try EmbeddingIndex.unit(embedding))
        items.append(item)
    }

    /// Finds the nearest items.
    ///
    /// - Parameters:
    ///   - query: an embedding of the other input.
    ///   - top: number of answers, 1 or more; fewer come if there are fewer items.
    /// - Returns: The answers, the nearest first; equals in the order in which they were added.
    /// - Throws: `ClassifierError` if the index is empty, or an argument does not fit.
    public func search(_ query: [Float], top: Int = 10) throws -> [Match] {
        guard top >= 1, let width = units.first?.count, query.count == width else {
            throw ClassifierError(
                "`query`, `top`: an embedding as wide as those of the index, which has some, and 1 "
                    + "or more. Received: width \(query.count), top=\(top), \(count) items."
            )
        }
        let sought = try EmbeddingIndex.unit(query)
        let scores = units.map { one in
            zip(one, sought).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        }
        // `sorted` promises no order of equals, so their places decide.
        let ranked = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
        return ranked.prefix(top).map { Match(item: items[$0], score: Float(scores[$0])) }
    }

    private static func unit(_ embedding: [Float]) throws -> [Float] {
        let length = embedding.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        guard length > 0, length.isFinite else {
            throw ClassifierError(
                "`embedding`: finite numbers that are not all 0, which stand for an absent picture "
                    + "or text."
            )
        }
        return embedding.map { Float(Double($0) / length) }
    }
}
