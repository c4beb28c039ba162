/// A series of a sensor, as it was measured.
public struct Series: Sendable {
    private let values: [[Float]]
    private let times: [Double]?

    /// A step is known if a measured one is nearer than this share of the usual distance.
    private static let near = 0.9

    /// - Parameters:
    ///   - values: for each step a number for each channel, in the order of the training data and
    ///     the sensor's units; NaN where nothing was measured.
    ///   - times: of the steps, in any unit, not going back; nil if the steps lie evenly.
    public init(values: [[Float]], times: [Double]? = nil) {
        self.values = values
        self.times = times
    }

    /// Gives what a model takes, as Python does: evenly spaced, in another number of steps, each
    /// followed by a 1 if it is known; all zeros if there is no number.
    ///
    /// - Parameters:
    ///   - length: number of steps that the model takes.
    ///   - channels: number of channels that it takes.
    /// - Returns: `length` x (`channels` + 1) numbers, step by step.
    /// - Throws: `ClassifierError` if there are other channels, none of the numbers of one,
    ///   infinite ones, or times that go back.
    public func tensor(length: Int, channels: Int) throws -> [Float] {
        guard !values.isEmpty, values.allSatisfy({ $0.count == channels }) else {
            throw ClassifierError(
                "`values`: steps of \(channels) numbers. Received: \(values.count) steps"
                    + (values.first.map { " of \($0.count) and maybe others." } ?? ".")
            )
        }
        guard values.allSatisfy({ $0.allSatisfy { !$0.isInfinite } }) else {
            throw ClassifierError(
                "`values`: finite numbers, or NaN. Received: an infinite one.")
        }
        if values.allSatisfy({ $0.allSatisfy { $0.isNaN } }) {
            return [Float](repeating: 0, count: length * (channels + 1))
        }
        let columns = Series.resized(try regular(channels), length)
        return (0..<length).flatMap { step in columns.map { Float($0[step]) } }
    }

    /// By channel numbers at evenly spaced times, and last whether a step is known.
    private func regular(_ channels: Int) throws -> [[Double]] {
        let places = times ?? values.indices.map { Double($0) }
        guard places.count == values.count, places.allSatisfy({ $0.isFinite }) else {
            throw ClassifierError(
                "`times`: a number for each step. Received: \(places.count) for \(values.count) "
                    + "steps.")
        }
        guard zip(places, places.dropFirst()).allSatisfy({ $0 <= $1 }) else {
            throw ClassifierError(
                "`times`: times that don't go back. Received: some that do. Sort the steps by time."
            )
        }
        let (first, last, count) = (places[0], places[places.count - 1], places.count)
        let even = Series.spread(first, last, count)
        guard count == 1 || even[0] != even[count - 1] else {
            throw ClassifierError("`times`: different times. Received: the same for all steps.")
        }
        var columns: [[Double]] = []
        for channel in 0..<channels {
            let known = values.indices.filter { !values[$0][channel].isNaN }
            guard !known.isEmpty else {
                throw ClassifierError(
                    "`values`: a number in each channel. Received: none in channel \(channel) "
                        + "(from 0).")
            }
            let numbers = known.map { Double(values[$0][channel]) }
            columns.append(Series.interpolated(even, known.map { places[$0] }, numbers))
        }
        let measured = values.indices.filter { i in values[i].contains { !$0.isNaN } }
            .map { places[$0] }
        var after = 0
        let distances = even.map { place -> Double in
            while after < measured.count - 1 && measured[after] < place { after += 1 }
            return min(abs(place - measured[after]), abs(place - measured[max(after - 1, 0)]))
        }
        let reach = Series.near * (last - first) / Double(max(count - 1, 1))
        let nearest = distances.indices.min { distances[$0] < distances[$1] }
        // The nearest one is known in any case.
        let known = distances.indices.map { distances[$0] <= reach }
        let marks = known.contains(true) ? known : known.indices.map { $0 == nearest }
        columns.append([Double](repeating: 1, count: count))
        return columns.map { column in
            zip(column, marks).map { $1 ? Double(Float($0)) : 0 }
        }
    }

    /// Fewer steps are means of what they cover, more lie on lines; unknown ones don't count.
    private static func resized(_ columns: [[Double]], _ length: Int) -> [[Double]] {
        let steps = columns[0].count
        if steps == length { return columns }
        let old = (0...steps).map { Double($0) }
        let made = columns.map { column -> [Double] in
            if steps < length {
                let at = spread(0, Double(steps - 1), length)
                return interpolated(at, Array(old.dropLast()), column)
            }
            var sums = [0.0]
            for value in column { sums.append(sums[sums.count - 1] + value) }
            let ends = interpolated(spread(0, Double(steps), length + 1), old, sums)
            return zip(ends, ends.dropFirst()).map { $1 - $0 }
        }
        let marks = made[made.count - 1]
        let covered = max(Double(steps) / Double(length), 1)
        let shares = marks.map { $0 / covered }
        let least = min(0.5, shares.max() ?? 0)
        return made.map { column in
            column.indices.map { shares[$0] >= least ? column[$0] / marks[$0] : 0 }
        }
    }

    /// Numbers at equal distances from the first to the last, as NumPy's `linspace`.
    private static func spread(_ first: Double, _ last: Double, _ count: Int) -> [Double] {
        let step = (last - first) / Double(max(count - 1, 1))
        var made = (0..<count).map { (place: Int) -> Double in Double(place) * step + first }
        if count > 1 { made[count - 1] = last }
        return made
    }

    /// Numbers on the lines between others, as NumPy's `interp`.
    private static func interpolated(
        _ at: [Double], _ places: [Double], _ numbers: [Double]
    ) -> [Double] {
        var next = 0  // the first place behind; `at` and `places` rise
        return at.map { place in
            while next < places.count && places[next] <= place { next += 1 }
            let before = next - 1
            if before < 0 { return numbers[0] }
            if next == places.count || places[before] == place { return numbers[before] }
            let slope = (numbers[next] - numbers[before]) / (places[next] - places[before])
            return slope * (place - places[before]) + numbers[before]
        }
    }
}
