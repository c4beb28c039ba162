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
    private val tokenizer by lazy {
        file.vocabulary?.let { Tokenizer(it, input("text").numElements()) }
    }

    /** What the model takes: `image`, `text` or both. */
    val inputs: Set<String>

    init {
        inputs = interpreter.getSignatureInputs(SIGNATURE).toSet()
        val shapes = inputs.associateWith { input(it).shape().toList() }
        if (!setOf("image", "text").containsAll(inputs) || shapes.values.any { it.first() != 1 }) {
            interpreter.close()
            throw IllegalArgumentException(
                "`content`: a model that takes one image, one text or both. " +
                    "Received: inputs $shapes.",
            )
        }
    }

    /**
     * Gives the outputs for one example.
     *
     * @param image a picture of any size, upright; null if there is none.
     * @param text as people write it; null or empty if there is none.
     * @throws IllegalArgumentException if there is neither a picture nor a word, or the model
     *     doesn't take what is given.
     */
    @Synchronized
    fun outputs(image: Bitmap?, text: String?): FloatArray {
        val given = listOfNotNull("image".takeIf { image != null }, "text".takeIf { text != null })
        require(inputs.containsAll(given)) {
            "`image`, `text`: what this model takes, $inputs. Received: $given."
        }
        val tensors = inputs.associateWith { direct(input(it).numBytes()) }  // zeros: absent
        if (image != null) writeImage(tensors.getValue("image"), image)
        if (text != null) writeText(tensors.getValue("text"), text)
        tensors.values.forEach { it.rewind() }
        fun isAbsent(tensor: ByteBuffer) = (0 until tensor.limit()).all { tensor[it] == ZERO }
        require(!tensors.values.all(::isAbsent)) {
            "`image`, `text`: a picture or a word. Received: neither."
        }

        val answer = arrayOf(FloatArray(if (file.labels.isEmpty()) width() else file.labels.size))
        interpreter.runSignature(tensors, mapOf<String, Any>(file.output to answer), SIGNATURE)
        return answer[0]
    }

    @Synchronized
    override fun close() = interpreter.close()

    private fun writeImage(tensor: ByteBuffer, image: Bitmap) {
        val (_, height, width, _) = input("image").shape().toList()
        val readable = if (image.config == Bitmap.Config.ARGB_8888) {
            image
        } else {
            // Bitmaps on the graphics processor, as ImageDecoder makes them, can't be read.
            requireNotNull(image.copy(Bitmap.Config.ARGB_8888, false)) { "`image`: out of memory." }
        }
        val pixels = resizePixels(readable.width, readable.height, width, height) { y, row ->
            readable.getPixels(row, 0, row.size, 0, y, row.size, 1)
        }
        if (input("image").dataType() == DataType.UINT8) {
            tensor.put(pixels)
        } else {
            for (value in pixels) tensor.putFloat((value.toInt() and 255).toFloat())
        }
    }

    private fun writeText(tensor: ByteBuffer, text: String) {
        if (input("text").dataType() == DataType.UINT8) {  // exported with text_input="bytes"
            tensor.put(utf8Bytes(text, tensor.capacity()))
            return
        }
        val tokenizer = requireNotNull(tokenizer) {
            "`text`: nothing, since this file has no vocabulary. Export it with vocabulary=."
        }
        for (id in tokenizer.ids(text)) tensor.putInt(id)
    }

    /** Of embeddings. */
    private fun width() =
        interpreter.getOutputTensorFromSignature(file.output, SIGNATURE).shape().last()

    private fun input(name: String) = interpreter.getInputTensorFromSignature(name, SIGNATURE)

    private companion object {
        const val SIGNATURE = "serving_default"
        const val ZERO: Byte = 0

        fun options(numThreads: Int) = Interpreter.Options().setNumThreads(numThreads)

        fun direct(size: Int): ByteBuffer =
            ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
    }
}
