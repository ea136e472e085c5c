"""How is a file put into a URL, and taken out again?"""


def split(text: str) -> tuple[str, str]:
    """Media type and base64 data of a data URL; no media type and the text itself where it is none."""
    head, comma, data = text.partition(",")
    if comma and head[:5].lower() == "data:" and head.endswith(";base64"):
        return head[5:-7].split(";")[0].lower(), data
    return "", text


def joined(media_type: str, data: str) -> str:
    """A data URL."""
    return f"data:{media_type};base64,{data}"
