"""What lies behind `mmkd_tf.models.fusion`: one file a way of fusing."""
