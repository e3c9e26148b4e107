"""What the help of a command ends with: lines to copy."""

EXAMPLES = """\
examples

  Synchronous and asynchronous SGD on a quadratic, 8 workers, 200 simulated seconds:

    jaxasgd compare --methods sync_sgd asgd --learning-rate 0.1 --until 200

  One worker ten times as slow as the others; methods with arguments of their own:

    jaxasgd compare --times lognormal --mean 1 --sigma 0.5 --slowest 10 \\
        --methods sync_sgd:learning_rate=0.3 asgd:learning_rate=0.05 \\
        backup_sgd:learning_rate=0.3,backup=2 --until 100 --seeds 3

  A small network on images of digits, every worker with few of the classes:

    jaxasgd compare --problem digits --hidden 32 --shards dirichlet --alpha 0.1 \\
        --methods asgd polynomial_asgd:power=1 --learning-rate 0.1 \\
        --updates 200 --seeds 2

  Logistic regression on a file of yours; then a picture of it:

    jaxasgd compare --problem libsvm --data train.txt --learning-rate 0.5 \\
        --methods sync_sgd asgd --until 100 --out results/mine
    jaxasgd plot results/mine --against update --of accuracy
    jaxasgd report results/mine --out mine.html
"""

PLAN_EXAMPLES = """\
examples

  Seconds of every worker's steps in my.csv; the variance of a gradient is 20 times its squared norm at the target:

    jaxasgd plan --step-times my.csv --noise-to-signal 20

  Where synchronous SGD is known to need 10000 updates, the table is in seconds:

    jaxasgd plan --step-times my.csv --noise-to-signal 20 --sync-updates 10000 --out results/mine
"""

RECORD_EXAMPLES = """\
examples

  Asynchronous SGD on four threads; then the same updates again, with the losses and a timeline:

    jaxasgd record --method asgd --learning-rate 0.1 --updates 1000
    jaxasgd replay recorded.npz --out results/recorded

  One worker ten times as slow as the others, and gradients older than 8 updates thrown away:

    jaxasgd record --method ringmaster:bound=8,learning_rate=0.05 --slow 1 1 1 10 --updates 1000 --out slow.npz
"""
