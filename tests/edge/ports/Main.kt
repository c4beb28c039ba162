package mmkd

import java.io.File

// Answers each line of the standard input, so that test_ports.py can compare with Python.

fun main() {
    var tokenizer = Tokenizer(listOf("<pad>", "<unk>"), 1)
    for (line in generateSequence(::readLine)) {
        val (command, arguments) = line.split(" ").let { it[0] to it.drop(1) }
        val answer = try {
            when (command) {
                "tokenizer" -> {
                    tokenizer = Tokenizer(text(arguments[1]).split("\n"), arguments[0].toInt())
                    ""
                }
                "words" -> Tokenizer.splitWords(text(arguments[0])).joinToString(" ") { hex(it) }
                "ids" -> tokenizer.ids(text(arguments[0])).joinToString(" ")
                "bytes" -> hex(utf8Bytes(text(arguments[1]), arguments[0].toInt()))
                "cut" -> cutWords(text(arguments[2]), arguments[0].toInt(), arguments[1].toInt())
                    .joinToString(" ") { hex(it) }
                "file" -> ModelFile.read(File(arguments[0]).readBytes()).let {
                    hex(it.labels.joinToString("\n")) + " " +
                        hex(it.vocabularies["text"]?.joinToString("\n") ?: "none") + " " +
                        hex("${it.output} ${it.threshold ?: "-"} ${it.temperature ?: "-"}")
                }
                "predict" -> ModelFile.read(File(arguments[0]).readBytes()).let {
                    val answer = Prediction.of(it, floats(arguments[1]))
                    val names = listOf(answer.label) + answer.probabilities.keys.toList()
                    (names + answer.given + answer.isCalibrated.toString())
                        .joinToString(" ") { name -> hex(name) }
                }
                "search" -> {
                    val index = Index()
                    arguments.drop(2).forEachIndexed { i, one -> index.add("item$i", floats(one)) }
                    index.search(floats(arguments[1]), arguments[0].toInt())
                        .joinToString(" ") { "${it.item} ${it.score}" }
                }
                "pixels" -> {
                    val (width, height, newWidth, newHeight) = arguments.take(4).map { it.toInt() }
                    val colors = File(arguments[4]).readBytes()
                    fun value(i: Int) = colors[i].toInt() and 255
                    hex(
                        resizePixels(width, height, newWidth, newHeight) { y, row ->
                            for (x in row.indices) {
                                val i = 4 * (y * width + x)
                                row[x] = (value(i + 3) shl 24) or (value(i) shl 16) or
                                    (value(i + 1) shl 8) or value(i + 2)
                            }
                        },
                    )
                }
                "inputs" -> ModelFile.read(File(arguments[0]).readBytes()).let { file ->
                    val words = file.vocabularies.mapValues { it.value.size }
                    file.inputs.toSortedMap().map { (name, form) ->
                        "$name=${form.kind},${form.rate ?: "-"},${words[name] ?: "-"}"
                    }.joinToString(" ")
                }
                "sound" -> {
                    val (newRate, size, rate, channels) = arguments.take(4).map { it.toInt() }
                    val samples = floats(arguments[4])
                    val sound = if (arguments[5] == "short") {
                        val whole = ShortArray(samples.size) { samples[it].toInt().toShort() }
                        Sound(whole, rate, channels)
                    } else {
                        Sound(samples, rate, channels)
                    }
                    sound.tensor(newRate, size).joinToString(",")
                }
                "series" -> {
                    val (length, channels) = arguments.take(2).map { it.toInt() }
                    val steps = arguments[2].split(";").map { floats(it) }.toTypedArray()
                    val times = arguments.getOrNull(3)?.split(",")?.map { it.toDouble() }
                    Series(steps, times?.toDoubleArray()).tensor(length, channels).joinToString(",")
                }
                else -> "error: no command $command"
            }
        } catch (error: IllegalArgumentException) {
            "error: ${error.message}"
        }
        println(answer)
    }
}

private fun floats(text: String) = text.split(",").map { it.toFloat() }.toFloatArray()

/** Reads UTF-16 in hexadecimal digits; `-` is empty. */
private fun text(hex: String) =
    String(hex.removePrefix("-").chunked(4).map { it.toInt(16).toChar() }.toCharArray())

private fun hex(text: String) = hex(text.toByteArray())

private fun hex(bytes: ByteArray) = bytes.joinToString("") { "%02x".format(it) }
