package mmkd

import android.graphics.Bitmap
import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter

/**
 * A file that is read, checked and run: what [Classifier], [Regressor] and [Encoder] share.
 *
 * @param output name of the output that the caller can answer for.
 * @throws IllegalArgumentException if the file is not a model that can be run.
 */
internal class Session(content: ByteArray, numThreads: Int, output: String) : Closeable {
    val file = ModelFile.read(content).also {
        require(it.output == output) {
            "`content`: a model that gives $output. Received: one that gives ${it.output}. " +
                "Classifier is for probabilities, Regressor for values, Encoder for embeddings."
        }
    }
    private val interpreter = Interpreter(direct(content.size).put(content), options(numThreads))
    private val tokenizers = HashMap<String, Tokenizer>()

    /** Names of what the model takes. */
    val inputs: Set<String>

    init {
        inputs = interpreter.getSignatureInputs(SIGNATURE).toSet()
        val shapes = inputs.associateWith { input(it).shape().toList() }
        val fit = shapes.all { (name, shape) ->
            val form = file.inputs[name]
            val hasRate = form?.kind != "audio" || form.rate != null
            shape.size == RANKS[form?.kind] && shape.first() == 1 && hasRate
        }
        if (!fit) {
            interpreter.close()
            throw IllegalArgumentException(
                "`content`: a model that takes one picture, text, sound or series each. " +
                    "Received: inputs $shapes.",
            )
        }
    }

    /** Gives the outputs for a picture and a text, of inputs that are called so. */
    fun outputs(image: Bitmap?, text: String?): FloatArray =
        outputs(mapOf("image" to image, "text" to text).filterValues { it != null })

    /**
     * Gives the outputs for one example.
     *
     * @param values by input what there is: a `Bitmap` of any size, upright; a `String` as people
     *     write it; a [Sound]; a [Series].
     * @throws IllegalArgumentException if there is nothing that the model can read, or it doesn't
     *     take what is given.
     */
    @Synchronized
    fun outputs(values: Map<String, Any?>): FloatArray {
        val given = values.filterValues { it != null }
        require(inputs.containsAll(given.keys)) {
            "`values`: what this model takes, $inputs. Received: ${given.keys}."
        }
        val tensors = inputs.associateWith { direct(input(it).numBytes()) }  // zeros: absent
        for ((name, value) in given) write(name, tensors.getValue(name), value)
        tensors.values.forEach { it.rewind() }
        fun isAbsent(tensor: ByteBuffer) = (0 until tensor.limit()).all { tensor[it] == ZERO }
        require(!tensors.values.all(::isAbsent)) {
            "`values`: at least one of $inputs. Received: nothing, such as a text without a word."
        }

        val answer = arrayOf(FloatArray(if (file.labels.isEmpty()) width() else file.labels.size))
        interpreter.runSignature(tensors, mapOf<String, Any>(file.output to answer), SIGNATURE)
        return answer[0]
    }

    /** Gives the words of each text for which the model lacks room, by input; see [cutWords]. */
    fun cutWords(values: Map<String, Any?>): Map<String, List<String>> =
        values.filter { (name, value) -> value is String && takesBytes(name) }
            .mapValues { (name, value) ->
                val form = file.inputs.getValue(name)
                cutWords(value as String, input(name).numBytes(), form.mostWords)
            }.filterValues { it.isNotEmpty() }

    @Synchronized
    override fun close() = interpreter.close()

    private fun write(name: String, tensor: ByteBuffer, value: Any?) {
        val form = file.inputs.getValue(name)
        val shape = input(name).shape()
        when {
            form.kind == "image" && value is Bitmap -> writeImage(name, tensor, value)
            form.kind == "text" && value is String -> writeText(name, tensor, value)
            form.kind == "audio" && value is Sound ->
                tensor.asFloatBuffer().put(value.tensor(form.rate!!, shape[1]))
            form.kind == "series" && value is Series ->
                tensor.asFloatBuffer().put(value.tensor(shape[1], shape[2] - 1))
            else -> throw IllegalArgumentException(
                "`$name`: a Bitmap, a String, a Sound or a Series, for an input of kind " +
                    "${form.kind}. Received: $value.",
            )
        }
    }

    private fun writeImage(name: String, tensor: ByteBuffer, image: Bitmap) {
        val (_, height, width, _) = input(name).shape().toList()
        val readable = if (image.config == Bitmap.Config.ARGB_8888) {
            image
        } else {
            // Bitmaps on the graphics processor, as ImageDecoder makes them, can't be read.
            requireNotNull(image.copy(Bitmap.Config.ARGB_8888, false)) { "`image`: out of memory." }
        }
        val pixels = resizePixels(readable.width, readable.height, width, height) { y, row ->
            readable.getPixels(row, 0, row.size, 0, y, row.size, 1)
        }
        if (input(name).dataType() == DataType.UINT8) {
            tensor.put(pixels)
        } else {
            for (value in pixels) tensor.putFloat((value.toInt() and 255).toFloat())
        }
    }

    private fun writeText(name: String, tensor: ByteBuffer, text: String) {
        if (takesBytes(name)) {
            tensor.put(utf8Bytes(text, tensor.capacity()))
            return
        }
        val vocabulary = requireNotNull(file.vocabularies[name]) {
            "`$name`: nothing, since this file has no vocabulary. Export it with vocabulary=."
        }
        val tokenizer = tokenizers.getOrPut(name) { Tokenizer(vocabulary, input(name).shape()[1]) }
        for (id in tokenizer.ids(text)) tensor.putInt(id)
    }

    /** Of embeddings. */
    private fun width() =
        interpreter.getOutputTensorFromSignature(file.output, SIGNATURE).shape().last()

    /** Tells whether an input is a text's UTF-8: exported with text_input="bytes". */
    private fun takesBytes(name: String) =
        file.inputs[name]?.kind == "text" && input(name).dataType() == DataType.UINT8

    private fun input(name: String) = interpreter.getInputTensorFromSignature(name, SIGNATURE)

    private companion object {
        const val SIGNATURE = "serving_default"
        const val ZERO: Byte = 0

        /** Sizes of an input's tensor, by kind. */
        val RANKS = mapOf("image" to 4, "text" to 2, "audio" to 2, "series" to 3)

        fun options(numThreads: Int) = Interpreter.Options().setNumThreads(numThreads)

        fun direct(size: Int): ByteBuffer =
            ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
    }
}
