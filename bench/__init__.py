"""The numbers we promise, measured beside other gateways: `python -m bench.gateway`.

gateway   the run, from start to table     load      sends requests and checks answers
peers     what is compared, how it starts  upstream  plays the provider
process   CPU and memory of a process      figures   medians, ratios, rows, targets       chart  the picture
"""
