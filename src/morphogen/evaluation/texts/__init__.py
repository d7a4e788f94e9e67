"""How varied generated texts are, how far they are copies, and what else is wrong with them, from the texts alone.

Each of these figures says something only beside that of as many real texts of such lengths, which were not trained on.
"""

from .bleu import self_bleu as self_bleu
from .copies import Copied as Copied
from .copies import longest_copied as longest_copied
from .copies import meeting as meeting
from .variety import distinct as distinct
from .variety import repetition as repetition
from .variety import unknown_words as unknown_words
from .variety import vocabulary as vocabulary
from .variety import word_count as word_count
