// The same values in another arrangement, and values picked by their places.

// y takes row-major places, x those that the first steps say: permuted, cut out, repeated.
KERNEL arrange(const float *x, float *y, int n, Axes axes, int start) {
    EACH(i, n) {
        int first, second;
        places(axes, i, first, second);
        y[i] = x[start + first];
    }
}

// The opposite: row-major values of x to their places in y, whose other values stay.
KERNEL spread(const float *x, float *y, int n, Axes axes, int start) {
    EACH(i, n) {
        int first, second;
        places(axes, i, first, second);
        y[start + first] = x[i];
    }
}

// x is [outer, length, inner]; y gets the given places of the middle axis, count of them.
KERNEL take(const float *x, const unsigned int *at, float *y, int n, int count, int inner, int length) {
    EACH(i, n) {
        int place = at[i / inner % count];
        y[i] = x[(i / inner / count * length + place) * inner + i % inner];
    }
}

// The opposite: the sum over the places that were read, which lie in from[starts[place]..starts[place + 1]].
KERNEL give_back(const float *dy, const unsigned int *starts, const unsigned int *from, float *dx, int n, int count, int inner,
                 int length) {
    EACH(i, n) {
        int place = i / inner % length, outer = i / inner / length;
        float sum = 0.0f;
        for (unsigned int k = starts[place]; k < starts[place + 1]; k++) {
            sum += dy[(outer * count + (int)from[k]) * inner + i % inner];
        }
        dx[i] = sum;
    }
}
