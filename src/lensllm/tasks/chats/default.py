"""The template of models that have none: lines that any tokenizer can write, and the model's own end token."""

from __future__ import annotations

DEFAULT_TEMPLATE = """\
{{- start }}
{%- set asked = namespace(tools=tools) %}
{%- for message in messages %}
{%- if message.role == 'system' %}{{ message.content | trim + '\\n\\n' }}
{%- endif %}
{%- if asked.tools and (message.role != 'system' or loop.last) %}{{ 'Tools:\\n' + asked.tools | tojson + '\\n\\n' }}
{%- set asked.tools = none %}
{%- endif %}
{%- if message.role != 'system' %}{{ message.role | capitalize + ':\\n' + message.content | trim }}
{%- for call in message.tool_calls or [] %}
{%- if message.content or not loop.first %}{{ '\\n' }}{% endif %}{{ call.function | tojson }}
{%- endfor %}
{%- if message.role == 'assistant' %}{{ end }}{% endif %}{{ '\\n\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"""
"""`start`, the system's words, the tools as JSON, then `User:`, `Assistant:` and `Tool:` on a line of their own with
the text under it and an empty line behind; `end` ends what the assistant says."""
