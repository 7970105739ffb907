"""Truncated backpropagation through time: documents read in chunks.

On a blackboard the loop is

    carried = start(network, rows)
    for block in batch.blocks:                          # chunks of the same documents, in order
        carried = carried.first(block.rows)             # documents that have ended leave
        state = [s.detach() for s in carried.state]     # truncated: values flow on, gradients stop here
        outputs, state = encoder(embed(block.tokens), state)
        pooled = pooling.update(carried.pooled, outputs, block.lengths)
        carried = CarriedState(state, pooled)
    loss = cross_entropy(head(pooling.value(carried.pooled)), batch.labels)

and the files, in the order in which to read them:

    batch.py       blocks (one chunk of each of B documents), and the batch that one optimizer step sees
    schedule.py    which chunks make up which batch: `documents` or `stream`
    loader.py      an epoch's batches in order, from wherever a run was interrupted; datamodule.py: of a data set
    carried.py     what passes from a chunk to the next
    loop.py        the loop above, with the one place where the gradient is truncated
    read.py        documents through the loop: in one direction, or layer by layer in two
    recompute.py   the same gradients in the memory of one chunk
    budget.py      what a batch would keep without it, estimated beforehand
    stream.py      the carried state between the optimizer steps of a stream, and what each chunk's loss counts
    bias.py        how far the truncated gradient is from the exact one
"""
