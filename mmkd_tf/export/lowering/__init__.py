"""What lies behind convert.py and recurrent.py: layers as TFLite runs them well."""
