"""The ladder: other systems of image-based music generation, small, on one contract (notebook 12).

Each of them is a process: `python -m pomkit.train --process NAME` trains it, `load_model` loads it,
`inpaint` composes with it. Nothing imports this folder; the package can be read without it.

Reading order: system, counting, answering, tokens, autoregressive, tracks, gan, sound, recordings,
restoring, orderless, autoencoder, diffroll, spectrogram, texture, cascade.

- `system`: what all of them share: cells in, cells out, windows of 64 x 64, which masks.
- `counting`: what is known without a network; bits a cell, a window, a note.
- `answering`: how a system answers a mask that it was not made for.
- `tokens`: cells as a text; `autoregressive`: PixelCNN, and a transformer of such texts.
- `tracks`: melody, bridge and piano as cells of their own; `gan`: adversarial networks.
- `sound`: sound as a picture and back; `recordings`: windows of songs, played once.
- `restoring`: what systems share that restore hidden cells and are told more than the cells.
- `orderless`: Coconet, a convolution network, and DeepBach's sampler.
- `autoencoder`: through a narrow place, out of noise, with faders.
- `diffroll`: told the sound: transcription; `spectrogram`: the way back, notes to sound.
- `texture`: told how many notes shall begin; `cascade`: told a skeleton, which it writes first.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "system": "System",
        "counting": "StateTable",
        "answering": "",
        "tokens": "encode_tokens decode_tokens",
        "autoregressive": "PixelCNN TokenTransformer",
        "tracks": "",
        "gan": "Wgan Midinet Musegan",
        "sound": "MelScale audio_of log_mel mel_of sound_of",
        "recordings": "",
        "restoring": "Restorer",
        "orderless": "Coconet",
        "autoencoder": "Autoencoder DenoisingAutoencoder Faders",
        "diffroll": "DiffRoll",
        "spectrogram": "SpectrogramDiffusion",
        "texture": "Texture",
        "cascade": "Cascade",
    },
)
