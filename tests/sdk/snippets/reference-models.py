import os
import openai
openai.organization = "org-ss4ERZ44zrBMPdIQiB2btAQQ"
openai.api_key = os.getenv("OPENAI_API_KEY")
openai.Model.list()
