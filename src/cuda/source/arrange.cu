// The same values in another arrangement, and values picked by their places.

// y takes row-major places, x those that the first steps say: permuted, cut out, repeated.
KERNEL arrange(In x, Out y, int n, Axes axes, int start) {
    EACH(i, n) {
        int first, second;
        places(axes, i, first, second);
        y.set(i, x[start + first]);
    }
}

// The opposite: row-major values of x to their places in y, whose other values stay.
KERNEL spread(In x, Out y, int n, Axes axes, int start) {
    EACH(i, n) {
        int first, second;
        places(axes, i, first, second);
        y.set(start + first, x[i]);
    }
}

// x is [outer, length, inner]; y gets the given places of the middle axis, count of them.
KERNEL take(In x, const unsigned int *at, Out y, int n, int count, int inner, int length) {
    EACH(i, n) {
        int place = at[i / inner % count];
        y.set(i, x[(i / inner / count * length + place) * inner + i % inner]);
    }
}

// The opposite: the sum over the places that were read, which lie in from[starts[place]..starts[place + 1]].
KERNEL give_back(In dy, const unsigned int *starts, const unsigned int *from, Out dx, int n, int count, int inner, int length) {
    EACH(i, n) {
        int place = i / inner % length, outer = i / inner / length;
        float sum = 0.0f;
        for (unsigned int k = starts[place]; k < starts[place + 1]; k++) {
            sum += dy[(outer * count + (int)from[k]) * inner + i % inner];
        }
        dx.set(i, sum);
    }
}
